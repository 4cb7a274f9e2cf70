"""The heaps of an HDF5 file, over some of which HDF5 goes round for ever."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from vggq._reader import Reader
from vggq.errors import SourceError
from vggq.packing.sources import ReadOptions, open_source
from vggq.packing.sources.keras import _heap
from vggq.packing.sources.keras._heap import check_heaps
from vggq.packing.sources.keras.hdf5 import open_tensors

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
    check_heaps(Reader(io.BytesIO(content), "w.h5"))


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
        open_source(path, ReadOptions(layout)),
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
    pieces = sum(1 for _ in _heap._pieces(Reader(io.BytesIO(content), ""), 2048, 8))
    monkeypatch.setattr(_heap, "_MOST_PIECES", pieces + 1)
    check(content)
    monkeypatch.setattr(_heap, "_MOST_PIECES", pieces)
    with pytest.raises(SourceError, match=f"more than {pieces} strings are in its HDF5 heaps"):
        check(content)


@pytest.mark.parametrize("size", [512, 4096])
def test_a_user_block_would_hide_the_heaps(content: bytes, size: int) -> None:
    with pytest.raises(SourceError, match="behind a user block"):
        check(bytes(size) + content)
    check(bytes(size - 1) + content)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, _: int | None = -1) -> bytes:
            raise OSError("the disk is gone")

    path = tmp_path / "w.h5"
    with (
        pytest.raises(SourceError, match=r"w\.h5.*the disk is gone$"),
        open_tensors(Broken(b"some"), path, None),
    ):
        pass


def test_numbers_that_look_like_a_heap_s_address(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(content)
    numbers = np.array([[3000, content.index(b"GCOL"), 0, 2]] * 3, np.int32)
    with h5py.File(path, "r+") as file:
        del file["other/w"]
        file["other/w"] = numbers
    with open_source(path) as source:
        assert any(np.array_equal(tensor.read(), numbers) for tensor in source.tensors)


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
        open_source(path, ReadOptions("torch")),
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
        open_source(path, ReadOptions("torch")),
    ):
        pass
