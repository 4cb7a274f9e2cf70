"""Validation of the global heaps of an HDF5 file, which hold its strings, before HDF5 reads them.

HDF5 (2.0.0 and earlier) loops forever over a heap with an object of size 0, and ignores signals.
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
_HEAP_SIGNATURE: Final = b"GCOL\x01"
_SEARCH_CHUNK: Final = 1 << 20
_MIN_USER_BLOCK: Final = 512
# HDF5 computes sizes modulo 2^64, so the size of an object may wrap around to 0.
_SIZE_MODULUS: Final = 1 << 64
# A model has thousands of names at most.
_MAX_OBJECTS: Final = 1 << 20


def check_heaps(
    file: Reader, *, search_chunk: int = _SEARCH_CHUNK, max_objects: int = _MAX_OBJECTS
) -> None:
    """Raise SourceError if HDF5 might loop forever over a heap of the file.

    Args:
        file: the HDF5 file.
        search_chunk: bytes to search for heaps at a time.
        max_objects: maximum number of heaps and their objects in the file.

    Raises:
        SourceError: a heap has an object of size 0; there are more than `max_objects`; or the
            file starts with a user block, by which all addresses would be shifted.

    """
    head = file.read_at(0, min(file.size, 16))
    if not head.startswith(SIGNATURE) and _has_user_block(file):
        raise SourceError(
            "HDF5 files with a user block are not supported; remove the block: "
            "h5unjam --delete -i FILE -o NEW_FILE"
        )
    objects = count()
    for start in _find_heaps(file, search_chunk):
        next(objects)
        for size in _object_sizes(file, start, _size_width(head)):
            if not size:
                raise SourceError(
                    f"the HDF5 heap of strings at byte {start} is damaged: an object has the size 0"
                )
            if next(objects) >= max_objects:
                raise SourceError(f"the HDF5 heaps hold more than {max_objects} strings")


def _has_user_block(file: Reader) -> bool:
    """Return whether HDF5 starts after a user block, whose size is 512 times a power of two."""
    sizes = takewhile(file.size.__gt__, (_MIN_USER_BLOCK << i for i in count()))
    return any(file.read_at(size, len(SIGNATURE)) == SIGNATURE for size in sizes)


def _size_width(head: bytes) -> int:
    """Return the number of bytes of a size in the file, from its superblock."""
    offset = 14 if head[8:9] < b"\x02" else 10
    return int.from_bytes(head[offset : offset + 1], "little")


def _find_heaps(file: Reader, search_chunk: int) -> Iterator[int]:
    """Yield the offsets of everything that looks like a heap."""
    for offset in range(0, file.size, search_chunk):
        size = min(search_chunk + len(_HEAP_SIGNATURE) - 1, file.size - offset)
        chunk = file.read_at(offset, size)
        position = chunk.find(_HEAP_SIGNATURE)
        while position >= 0:
            yield offset + position
            position = chunk.find(_HEAP_SIGNATURE, position + 1)


def _object_sizes(file: Reader, start: int, width: int) -> Iterator[int]:
    """Yield the sizes of a heap's objects, headers included, as HDF5 computes them."""
    header_size = _align(8 + width)
    end = start + _read_integer(file, start + 8, width)
    position = start + header_size
    while position + header_size <= min(end, file.size):
        size = _read_integer(file, position + 8, width)
        # Object 0 is the free space, whose size includes the header.
        if _read_integer(file, position, 2):
            size = (header_size + _align(size)) % _SIZE_MODULUS
        yield size
        position += size


def _read_integer(file: Reader, offset: int, width: int) -> int:
    return int.from_bytes(file.read_at(offset, max(0, min(width, file.size - offset))), "little")


def _align(size: int) -> int:
    return -(-size // 8) * 8
