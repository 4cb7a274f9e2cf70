"""What one load works with: memory that is used again, and the entries that lie ahead."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ._ahead import Ahead

if TYPE_CHECKING:
    from ._container import ReadAt

Buffer = bytes | memoryview
"""Bytes of their own, or in memory that will be used again."""


class Scratch(threading.local):
    """What one load of a file works with, each thread with its own; it goes when this object goes.

    Fresh memory for every tensor would cost its restoring as much again: the system clears each
    page of it when it is first touched.

    Attributes:
        ahead: the window over the file that small entries are read from.

    """

    def __init__(self, read_at: ReadAt) -> None:
        self._buffers: dict[str, bytearray] = {}
        self.ahead = Ahead(read_at)

    def take(self, use: str, size: int) -> memoryview:
        """`size` bytes of any content, good until this thread takes some for the same use."""
        buffer = self._buffers.get(use)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[use] = bytearray(size)
        return memoryview(buffer)[:size]
