"""The heaps of an HDF5 file that hold its strings, proved before HDF5 walks them.

HDF5 (2.0.0 and before) goes round for ever in one where a piece is of no size, and heeds no signal.
https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html (global heap)
"""

from __future__ import annotations

from itertools import count, takewhile
from typing import TYPE_CHECKING, Final

from ....errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...._reader import Reader

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
_HEAP: Final = b"GCOL\x01"
_BLOCK: Final = 1 << 20
_LEAST_USER_BLOCK: Final = 512
# HDF5 computes sizes in 64 bits, where one may come to nothing.
_SIZES: Final = 1 << 64
_MOST_PIECES: Final = 1 << 20
"""Of all heaps together: a model's names are thousands at the most."""


def check_heaps(file: Reader) -> None:
    """Refuse a file with a heap that has no end.

    Raises:
        SourceError: it has one, or more pieces than any model's names are, or it begins with
            something else than HDF5, from which all its addresses would count.

    """
    head = file.read_at(0, min(file.size, 16))
    if not head.startswith(SIGNATURE) and any(_user_blocks(file)):
        raise SourceError("HDF5 behind a user block is not read: h5repack -u takes it out")
    pieces = count()
    for start in _find(file):
        next(pieces)
        for size in _pieces(file, start, _width(head)):
            if not size:
                raise SourceError(f"the HDF5 heap of strings at byte {start} has no end")
            if next(pieces) >= _MOST_PIECES:
                raise SourceError(f"more than {_MOST_PIECES} strings are in its HDF5 heaps")


def _user_blocks(file: Reader) -> Iterator[bool]:
    """Whether HDF5 begins behind a user block of each size that there can be."""
    sizes = takewhile(file.size.__gt__, (_LEAST_USER_BLOCK << i for i in count()))
    return (file.read_at(size, len(SIGNATURE)) == SIGNATURE for size in sizes)


def _width(head: bytes) -> int:
    """How many bytes the file's sizes have, by its superblock."""
    place = 14 if head[8:9] < b"\x02" else 10
    return int.from_bytes(head[place : place + 1], "little")


def _find(file: Reader) -> Iterator[int]:
    """Where heaps begin, or seem to."""
    for offset in range(0, file.size, _BLOCK):
        block = file.read_at(offset, min(_BLOCK + len(_HEAP) - 1, file.size - offset))
        place = block.find(_HEAP)
        while place >= 0:
            yield offset + place
            place = block.find(_HEAP, place + 1)


def _pieces(file: Reader, start: int, width: int) -> Iterator[int]:
    """The sizes of a heap's pieces, with their headers, as HDF5 computes them."""
    header = _aligned(8 + width)
    end = start + _number(file, start + 8, width)
    at = start + header
    while at + header <= min(end, file.size):
        size = _number(file, at + 8, width)
        if _number(file, at, 2):
            size = (header + _aligned(size)) % _SIZES
        yield size
        at += size


def _number(file: Reader, offset: int, width: int) -> int:
    return int.from_bytes(file.read_at(offset, max(0, min(width, file.size - offset))), "little")


def _aligned(size: int) -> int:
    return -(-size // 8) * 8
