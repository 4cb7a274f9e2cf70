"""Memory that one load reuses: buffers for each thread, and a read-ahead window over the file."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from ._huge_pages import HUGE, empty_bytes

if TYPE_CHECKING:
    from ._container import ReadAt

Buffer = bytes | memoryview
"""Bytes of their own, or a view of memory that will be reused."""

MAX_WINDOW: Final = 1 << 18


class Memory(Protocol):
    """Memory to decompress into."""

    def take(self, use: str, size: int) -> memoryview:
        """Return `size` bytes of any content for a use."""
        ...


class Target(NamedTuple):
    """Memory that content is decompressed into directly, because it stays there.

    Attributes:
        out: writable memory of the size of the content.

    """

    out: memoryview

    def take(self, use: str, size: int) -> memoryview:  # noqa: ARG002 - there is one use
        """Return the memory, of which `size` is the size."""
        return self.out[:size]


class Buffers(threading.local):
    """Reusable buffers for one load, separate for each thread.

    Fresh memory for every tensor would double the time of a load, because the system clears each
    page when it is first touched. That is done fastest for a whole huge page.

    Args:
        read_at: reads bytes of the packed file.

    Attributes:
        read: reads bytes of the packed file, through the read-ahead window.

    """

    def __init__(self, read_at: ReadAt) -> None:
        self._buffers: dict[str, memoryview] = {}
        self.read = ReadAhead(read_at).read

    def take(self, use: str, size: int) -> memoryview:
        """Return `size` bytes of any content, valid until this thread takes the same use again."""
        buffer = self._buffers.get(use)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[use] = empty_bytes(max(size, HUGE))
        return buffer[:size]


class ReadAhead:
    """A window over a file that reads many small neighbouring entries at once; for one thread.

    The window grows each time it is read past its end, so a single read fetches nothing extra.
    """

    def __init__(self, read_at: ReadAt) -> None:
        self._read_at = read_at
        self._start = 0
        self._window = b""

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`; fewer where the file ends."""
        begin = offset - self._start
        if not 0 <= begin <= len(self._window) - size:
            grown = 2 * len(self._window) if 0 <= begin <= len(self._window) else 0
            self._window = self._read_at(offset, max(size, min(grown, MAX_WINDOW)))
            self._start, begin = offset, 0
        return self._window[begin : begin + size]
