"""The heaps of an HDF5 file that hold its strings, proved before HDF5 walks them.

HDF5 (2.0.0 and before) goes round for ever in one where a piece is of no size, and heeds no signal;
and it takes the memory that a string says it needs before it looks whether there is such a string.
https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html (global heap)
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

import numpy as np

from ...errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ..._files import PackedFile

_HEAP: Final = b"GCOL\x01"
_BLOCK: Final = 1 << 20
_WORD: Final = 8
# HDF5 computes sizes in 64 bits, where one may come to nothing.
_SIZES: Final = 1 << 64
_MOST_PIECES: Final = 1 << 20
"""Of all heaps together: a model's names are thousands at the most."""


def check_heaps(file: PackedFile) -> None:
    """Refuse a file with a heap that has no end, or with a string longer than it is in its heap.

    Raises:
        SourceError: it has one, or more pieces than any model's names are.

    """
    width = _width(file.read_at(0, min(file.size, 16)))
    pieces = count(1)
    heaps: dict[int, dict[int, int]] = {}
    for start in _find(file):
        heaps[start] = sizes = {}
        for index, whole, size in _pieces(file, start, width):
            if not whole or next(pieces) > _MOST_PIECES:
                raise SourceError(f"the HDF5 heap of strings at byte {start} has no end")
            sizes[index] = size
    if heaps and width == _WORD:
        _check_strings(file, heaps)


def _check_strings(file: PackedFile, heaps: dict[int, dict[int, int]]) -> None:
    """Hold what strings say of their lengths against the heaps that have them.

    A string's record is its length (4 bytes), its heap's address (8) and its index in it (4).
    """
    for offset, heap in _records(file, heaps):
        length, index = _number(file, offset, 4), _number(file, offset + 12, 4)
        size = heaps[heap].get(index, file.size)
        if length > size:
            raise SourceError(
                f"the HDF5 string at byte {offset} says that it has {length} bytes, and has {size}"
            )


def _records(file: PackedFile, heaps: Collection[int]) -> Iterator[tuple[int, int]]:
    """Where there seems to be a string's record, and its heap.

    What h5py writes by default is aligned to eight bytes; what is not, is not looked at.
    """
    least, most = min(heaps), max(heaps)
    for start in range(0, file.size - 2 * _WORD + 1, _BLOCK):
        block = file.read_at(start, min(_BLOCK + _WORD, file.size - start))
        words = np.frombuffer(block, "<u8", (len(block) - 4) // _WORD, 4)
        for place in np.flatnonzero((words >= least) & (words <= most)).tolist():
            if int(words[place]) in heaps:
                yield start + place * _WORD, int(words[place])


def _width(head: bytes) -> int:
    """How many bytes the file's sizes have, by its superblock."""
    place = 14 if head[8:9] < b"\x02" else 10
    return int.from_bytes(head[place : place + 1], "little")


def _find(file: PackedFile) -> Iterator[int]:
    """Where heaps begin, or seem to."""
    for offset in range(0, file.size, _BLOCK):
        block = file.read_at(offset, min(_BLOCK + len(_HEAP) - 1, file.size - offset))
        place = block.find(_HEAP)
        while place >= 0:
            yield offset + place
            place = block.find(_HEAP, place + 1)


def _pieces(file: PackedFile, start: int, width: int) -> Iterator[tuple[int, int, int]]:
    """A heap's pieces: index, size with its header as HDF5 computes it, and size."""
    header = _aligned(8 + width)
    end = start + _number(file, start + 8, width)
    at = start + header
    while at + header <= min(end, file.size):
        index, size = _number(file, at, 2), _number(file, at + 8, width)
        whole = (header + _aligned(size)) % _SIZES if index else size
        yield index, whole, size
        at += whole


def _number(file: PackedFile, offset: int, width: int) -> int:
    return int.from_bytes(file.read_at(offset, max(0, min(width, file.size - offset))), "little")


def _aligned(size: int) -> int:
    return -(-size // 8) * 8
