"""Huge pages for large memory on Linux, as numpy asks for them for its arrays."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Final

import numpy as np

# As in numpy: smaller memory has few pages.
_MIN_SIZE: Final = 1 << 22


def advise_huge_pages(memory: memoryview) -> None:
    """Ask the system for huge pages, before fresh memory is written to.

    Clearing and mapping pages of 4 KiB one by one takes longer than decoding weights into them.
    Without an effect on other systems, and where the C library cannot be called.
    """
    if sys.platform != "linux" or len(memory) < _MIN_SIZE:
        return
    with suppress(ImportError, OSError, AttributeError):
        import ctypes  # noqa: PLC0415 - numpy imports it if there is one
        from mmap import MADV_HUGEPAGE, PAGESIZE  # noqa: PLC0415 - not on every system

        address = np.frombuffer(memory, np.uint8).ctypes.data
        begin = -(-address // PAGESIZE) * PAGESIZE
        size = (address + len(memory) - begin) // PAGESIZE * PAGESIZE
        advise = ctypes.CDLL(None).madvise
        advise(ctypes.c_void_p(begin), ctypes.c_size_t(size), MADV_HUGEPAGE)
