"""Global heaps of HDF5 files, some of which make HDF5 loop forever."""

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
from vggq.packing.sources.keras._heap import check_heaps

if TYPE_CHECKING:
    from pathlib import Path

FREE = b"\0" * 8
"""Header of a heap's free space, without its size."""


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = ["layer", "other"]
        file["layer/w"] = file["other/w"] = np.zeros((2, 3), np.float32)
        for name in ("layer", "other"):
            file[name].attrs["weight_names"] = ["w"]
    return (tmp_path / "w.h5").read_bytes()


def free_space_offset(content: bytes) -> int:
    """Return the offset of the heap's free space, whose size is the rest of 4096 bytes."""
    start = content.index(b"GCOL\x01")
    for offset in range(start + 16, start + 4096, 8):
        size = (start + 4096 - offset).to_bytes(8, "little")
        if content[offset : offset + 16] == FREE + size:
            return offset
    raise AssertionError


def with_size(content: bytes, number: int, size: int) -> bytes:
    """Replace the number and the size of the free space."""
    offset = free_space_offset(content)
    header = number.to_bytes(8, "little") + size.to_bytes(8, "little")
    return content[:offset] + header + content[offset + 16 :]


def check(content: bytes, **limits: int) -> None:
    check_heaps(Reader(io.BytesIO(content), "w.h5"), **limits)


def test_accepts_valid_heaps(content: bytes) -> None:
    free_space_offset(content)
    check(content)


@pytest.mark.parametrize(("number", "size"), [(0, 0), (7, 2**64 - 16), (7, 2**64 - 23)])
@pytest.mark.parametrize("layout", [None, "torch"])
def test_open_rejects_heaps_without_an_end(
    content: bytes, tmp_path: Path, number: int, size: int, layout: str | None
) -> None:
    """h5py would never return from the first of these, even after a signal."""
    path = tmp_path / "damaged.h5"
    path.write_bytes(with_size(content, number, size))
    start = content.index(b"GCOL")
    message = (
        f"{path}: the HDF5 heap of strings at byte {start} is damaged: an object has the size 0"
    )
    with (
        pytest.raises(SourceError, match=f"^{re.escape(message)}$"),
        open_source(path, ReadOptions(layout)),
    ):
        pass


@pytest.mark.parametrize(("number", "size"), [(7, 2**64 - 24), (7, 2**63), (0, 1 << 20)])
def test_accepts_damaged_heaps_that_end(content: bytes, number: int, size: int) -> None:
    """HDF5 itself rejects these."""
    check(with_size(content, number, size)[: free_space_offset(content) + 40])


def test_finds_heaps_across_search_chunks(content: bytes) -> None:
    damaged = with_size(content, 0, 0)
    start = content.index(b"GCOL")
    for search_chunk in range(start - 1, start + 6):
        check(content, search_chunk=search_chunk)
        with pytest.raises(
            SourceError, match=f"at byte {start} is damaged: an object has the size 0"
        ):
            check(damaged, search_chunk=search_chunk)


def test_finds_the_second_heap_of_a_search_chunk(content: bytes) -> None:
    damaged = with_size(content, 0, 0)
    with pytest.raises(SourceError, match=f"at byte {len(content) + content.index(b'GCOL')} is"):
        check(content + damaged)


def test_rejects_more_objects_than_the_limit(content: bytes) -> None:
    """The file has one heap with four strings and free space, so six objects in all."""
    check(content, max_objects=6)
    with pytest.raises(SourceError, match="the HDF5 heaps hold more than 5 strings"):
        check(content, max_objects=5)


@pytest.mark.parametrize("size", [512, 4096])
def test_rejects_user_blocks(content: bytes, size: int) -> None:
    with pytest.raises(SourceError, match="with a user block are not supported"):
        check(bytes(size) + content)
    check(bytes(size - 1) + content)


def test_reads_weights_that_look_like_the_address_of_a_heap(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(content)
    numbers = np.array([[3000, content.index(b"GCOL"), 0, 2]] * 3, np.int32)
    with h5py.File(path, "r+") as file:
        del file["other/w"]
        file["other/w"] = numbers
    with open_source(path) as source:
        assert any(np.array_equal(tensor.read(), numbers) for tensor in source.tensors)


@pytest.mark.parametrize(("version", "offset"), [(0, 14), (1, 14), (2, 10), (3, 10)])
def test_reads_sizes_of_four_bytes(version: int, offset: int) -> None:
    head = bytearray(16)
    head[8], head[offset] = version, 4
    string = b"\1\0" + bytes(6) + (5).to_bytes(4, "little") + b"\xff" * 4 + b"names\0\0\0"
    free = FREE + (24).to_bytes(4, "little") + b"\xff" * 12
    heap = b"GCOL\x01\0\0\0" + (64).to_bytes(4, "little") + b"\xff" * 4 + string + free
    check(bytes(head) + heap)
    with pytest.raises(SourceError, match="at byte 16 is damaged: an object has the size 0"):
        check(bytes(head) + heap.replace(free, FREE + bytes(16)))


def test_open_rejects_names_that_are_not_strings(tmp_path: Path) -> None:
    """Damaged types of other kinds have crashed HDF5."""
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        lists = h5py.vlen_dtype(np.uint8)
        names = np.empty(1, object)
        names[0] = np.arange(5, dtype=np.uint8)
        file.attrs.create("layer_names", names, dtype=lists)
    with (
        pytest.raises(
            SourceError, match=r"the attribute 'layer_names' of / does not hold strings$"
        ),
        open_source(path, ReadOptions("torch")),
    ):
        pass


def test_reads_empty_lists_of_weights(tmp_path: Path) -> None:
    """h5py, and so Keras, writes an empty list as an array of floats."""
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["flatten"]
        file.create_group("flatten").attrs["weight_names"] = []
        assert file["flatten"].attrs["weight_names"].dtype == np.float64
    with (
        pytest.raises(SourceError, match=r"w\.h5: contains no tensors$"),
        open_source(path, ReadOptions("torch")),
    ):
        pass
