"""The heaps of an HDF5 file, over some of which HDF5 goes round for ever."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from vggq._files import PackedFile
from vggq.errors import SourceError
from vggq.sources import Reading, open_source
from vggq.sources.keras import _heap
from vggq.sources.keras._heap import check_heaps

if TYPE_CHECKING:
    from pathlib import Path

FREE = b"\0" * 8
"""The header of free space, but for its size."""


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = ["layer", "other"]
        file["layer/w"] = file["other/w"] = np.zeros((2, 3), np.float32)
        for name in ("layer", "other"):
            file[name].attrs["weight_names"] = ["w"]
    return (tmp_path / "w.h5").read_bytes()


def free_space(content: bytes) -> int:
    """Where the free space of the heap begins: its size is what is left of 4096 bytes."""
    start = content.index(b"GCOL\x01")
    for at in range(start + 16, start + 4096, 8):
        size = (start + 4096 - at).to_bytes(8, "little")
        if content[at : at + 16] == FREE + size:
            return at
    raise AssertionError


def with_size(content: bytes, at: int, number: int, size: int) -> bytes:
    header = number.to_bytes(8, "little") + size.to_bytes(8, "little")
    return content[:at] + header + content[at + 16 :]


def check(content: bytes) -> None:
    check_heaps(PackedFile(io.BytesIO(content), "w.h5"))


def test_a_sound_file(content: bytes) -> None:
    free_space(content)
    check(content)


@pytest.mark.parametrize(("number", "size"), [(0, 0), (7, 2**64 - 16), (7, 2**64 - 23)])
@pytest.mark.parametrize("layout", [None, "torch"])
def test_a_heap_without_an_end(
    content: bytes, tmp_path: Path, number: int, size: int, layout: str | None
) -> None:
    """h5py would not come back from the first of these, whatever signal it gets."""
    path = tmp_path / "damaged.h5"
    path.write_bytes(with_size(content, free_space(content), number, size))
    start = content.index(b"GCOL")
    message = f"{path}: the HDF5 heap of strings at byte {start} has no end"
    with (
        pytest.raises(SourceError, match=f"^{re.escape(message)}$"),
        open_source(path, Reading(layout)),
    ):
        pass


@pytest.mark.parametrize(("number", "size"), [(7, 2**64 - 24), (7, 2**63), (0, 1 << 20)])
def test_a_heap_that_ends_badly_is_for_hdf5_to_refuse(
    content: bytes, number: int, size: int
) -> None:
    check(with_size(content, free_space(content), number, size)[: free_space(content) + 40])


def test_a_heap_is_found_wherever_it_lies(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = with_size(content, free_space(content), 0, 0)
    start = content.index(b"GCOL")
    for block in range(start - 1, start + 6):
        monkeypatch.setattr(_heap, "_BLOCK", block)
        check(content)
        with pytest.raises(SourceError, match=f"at byte {start} has no end"):
            check(damaged)


def test_the_second_heap_of_a_block(content: bytes) -> None:
    damaged = with_size(content, free_space(content), 0, 0)
    with pytest.raises(SourceError, match=f"at byte {len(content) + content.index(b'GCOL')} has"):
        check(content + damaged)


def test_more_strings_than_any_model_has(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = sum(1 for _ in _heap._pieces(PackedFile(io.BytesIO(content), ""), 2048, 8))
    monkeypatch.setattr(_heap, "_MOST_PIECES", pieces)
    check(content)
    monkeypatch.setattr(_heap, "_MOST_PIECES", pieces - 1)
    with pytest.raises(SourceError, match="has no end"):
        check(content)


def record(content: bytes, text: bytes) -> int:
    """Where the record of a string is, by its length and its heap's address."""
    head = len(text).to_bytes(4, "little") + content.index(b"GCOL\x01").to_bytes(8, "little")
    return content.index(head)


@pytest.mark.parametrize("layout", [None, "torch"])
def test_a_string_longer_than_it_is(content: bytes, tmp_path: Path, layout: str | None) -> None:
    """h5py would take 4 GiB for this one."""
    path = tmp_path / "damaged.h5"
    at = record(content, b"layer")
    length = 2**32 - 1
    path.write_bytes(content[:at] + length.to_bytes(4, "little") + content[at + 4 :])
    message = f"{path}: the HDF5 string at byte {at} says that it has {length} bytes, and has 5"
    with (
        pytest.raises(SourceError, match=f"^{re.escape(message)}$"),
        open_source(path, Reading(layout)),
    ):
        pass


def test_a_string_that_no_heap_has_is_no_longer_than_the_file(content: bytes) -> None:
    at = record(content, b"layer") + 12
    missing = content[:at] + (99).to_bytes(4, "little") + content[at + 4 :]
    check(missing)
    longer = (len(content) + 1).to_bytes(4, "little")
    with pytest.raises(SourceError, match=f"has {len(content) + 1} bytes, and has {len(content)}$"):
        check(missing[: at - 12] + longer + missing[at - 8 :])


def test_a_string_is_found_wherever_it_lies(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = record(content, b"layer")
    damaged = content[:at] + b"\xff" * 4 + content[at + 4 :]
    for block in range(at - 32, at + 40, 8):
        monkeypatch.setattr(_heap, "_BLOCK", block)
        check(content)
        with pytest.raises(SourceError, match=f"string at byte {at} says"):
            check(damaged)


@pytest.mark.parametrize(("version", "place"), [(0, 14), (1, 14), (2, 10), (3, 10)])
def test_sizes_of_four_bytes(version: int, place: int) -> None:
    head = bytearray(16)
    head[8], head[place] = version, 4
    piece = b"\1\0" + bytes(6) + (5).to_bytes(4, "little") + b"\xff" * 4 + b"names\0\0\0"
    free = FREE + (24).to_bytes(4, "little") + b"\xff" * 12
    heap = b"GCOL\x01\0\0\0" + (64).to_bytes(4, "little") + b"\xff" * 4 + piece + free
    check(bytes(head) + heap)
    with pytest.raises(SourceError, match="at byte 16 has no end"):
        check(bytes(head) + heap.replace(free, FREE + bytes(16)))


def test_names_that_are_no_strings(tmp_path: Path) -> None:
    """Over damaged types HDF5 has brought the process down."""
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        lists = h5py.vlen_dtype(np.uint8)
        names = np.empty(1, object)
        names[0] = np.arange(5, dtype=np.uint8)
        file.attrs.create("layer_names", names, dtype=lists)
    with (
        pytest.raises(SourceError, match=r"the attribute 'layer_names' of / is not of strings$"),
        open_source(path, Reading("torch")),
    ):
        pass


def test_a_layer_without_weights_has_an_empty_list(tmp_path: Path) -> None:
    """Which h5py, and so Keras, writes as numbers."""
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["flatten"]
        file.create_group("flatten").attrs["weight_names"] = []
        assert file["flatten"].attrs["weight_names"].dtype == np.float64
    with (
        pytest.raises(SourceError, match=r"w\.h5 holds no tensors$"),
        open_source(path, Reading("torch")),
    ):
        pass
