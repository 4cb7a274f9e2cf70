"""Reading bytes at an offset of a file, with the system's calls or with the file's own methods."""

from __future__ import annotations

import os
from typing import IO, Final

# Bytes to read with one call of the system: some systems refuse 2 GiB.
_MAX_READ: Final = 1 << 30


def positional_descriptor(file: IO[bytes]) -> int | None:
    """Return a descriptor for reading at offsets; None where the system or the file has none.

    Reading at offsets does not use the file's position, which forked processes share without a
    common lock.
    """
    try:
        return file.fileno() if hasattr(os, "preadv") else None
    except OSError:
        return None


def pread(descriptor: int, offset: int, size: int) -> bytes:
    """Read `size` bytes from `offset`; one call of the system may return fewer."""
    data = os.pread(descriptor, min(size, _MAX_READ), offset)
    while len(data) < size and (
        more := os.pread(descriptor, min(size - len(data), _MAX_READ), offset + len(data))
    ):
        data += more
    return data


def pread_into(descriptor: int, offset: int, out: memoryview) -> int:
    """Read bytes from `offset` into `out`, and return the number of bytes read."""
    size = 0
    while size < len(out) and (
        more := os.preadv(descriptor, [out[size : size + _MAX_READ]], offset + size)
    ):
        size += more
    return size


def read_fully(file: IO[bytes], size: int) -> bytes:
    """Read `size` bytes from the file's position; one read of an unbuffered file may give fewer."""
    data = _read_once(file, size)
    while len(data) < size and (more := _read_once(file, size - len(data))):
        data += more
    return data[:size]


def _read_once(file: IO[bytes], size: int) -> bytes:
    """Read up to `size` bytes from the file's position.

    Raises:
        TypeError: the file gives something else, since it is in text mode or does not block.

    """
    data: object = file.read(size)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"a read gives {type(data).__name__}, expected bytes")
    return bytes(data)
