"""Huge pages on Linux, where fresh memory in pages of 4 KiB takes longer than decoding into it."""

from __future__ import annotations

import math
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HUGE: Final = 1 << 21
"""Bytes of a huge page of most processors."""

MAX_SHARED: Final = 1 << 16
"""Bytes of the largest array that shares a huge page with others."""

# The part of an array's size that its last huge page may waste.
_MAX_WASTE: Final = 1 / 8
# Arrays that share a page begin at lines of the cache.
_ALIGNMENT: Final = 64
# As in numpy: smaller memory has few pages.
_MIN_ADVISED: Final = 1 << 22


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a new array of any content; a large one has its own memory, in huge pages.

    Like that of `numpy.empty`, the memory is given back with the last reference to the array. numpy
    asks for huge pages as well, but its arrays begin and end within them.
    """
    size = math.prod(shape) * dtype.itemsize
    if sys.platform == "linux" and size >= HUGE:
        with suppress(ImportError, OSError, OverflowError):
            return np.ndarray(shape, dtype, *_map(size))
    return np.empty(shape, dtype)


def empty_bytes(size: int) -> memoryview:
    """Return memory of any content, of at least `size` bytes; large memory has whole huge pages."""
    whole = -(-size // HUGE) * HUGE if 2 * size > HUGE else size
    return empty((whole,), np.dtype(np.uint8)).data


class Arrays(threading.local):
    """New arrays for one load. Small ones share huge pages, of each thread.

    The memory of a page is given back with its last array.

    Args:
        small: bytes of all arrays of up to `MAX_SHARED` bytes. If they do not fill a huge page,
            each has its own memory.

    """

    def __init__(self, small: int) -> None:
        self._shares = small >= HUGE
        self._page = memoryview(b"")
        self._used = 0

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return a new array of any content."""
        size = math.prod(shape) * dtype.itemsize
        if not self._shares or not 0 < size <= MAX_SHARED:
            return empty(shape, dtype)
        begin = -(-self._used // _ALIGNMENT) * _ALIGNMENT
        if begin + size > len(self._page):
            self._page, begin = empty_bytes(HUGE), 0
        self._used = begin + size
        return np.ndarray(shape, dtype, self._page, begin)


def advise_huge_pages(memory: memoryview) -> None:
    """Ask the system for huge pages, before fresh memory is written to.

    Without an effect on other systems, and where the C library cannot be called.
    """
    if sys.platform != "linux" or len(memory) < _MIN_ADVISED:
        return
    with suppress(ImportError, OSError, AttributeError):
        import ctypes  # noqa: PLC0415 - numpy imports it if there is one
        from mmap import MADV_HUGEPAGE, PAGESIZE  # noqa: PLC0415 - not on every system

        address = _address(memory)
        begin = -(-address // PAGESIZE) * PAGESIZE
        size = (address + len(memory) - begin) // PAGESIZE * PAGESIZE
        advise = ctypes.CDLL(None).madvise
        advise(ctypes.c_void_p(begin), ctypes.c_size_t(size), MADV_HUGEPAGE)


def _map(size: int) -> tuple[Any, int]:
    """Return a private mapping, and the offset in it of `size` bytes that begin a huge page."""
    import mmap  # noqa: PLC0415 - not in every build of Python

    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    mapping = mmap.mmap(-1, size + HUGE, flags=flags)
    begin = -_address(mapping) % HUGE
    whole = size // HUGE * HUGE
    if whole + HUGE - size <= size * _MAX_WASTE:
        whole += HUGE
    # Systems without huge pages refuse the advice.
    with suppress(OSError, AttributeError):
        mapping.madvise(mmap.MADV_HUGEPAGE, begin, min(whole, len(mapping) - begin))
    return mapping, begin


def _address(memory: Any) -> int:
    address: int = np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
    return address
