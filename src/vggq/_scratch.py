"""Memory that is used again for one tensor after the other."""

from __future__ import annotations

import threading

from ._ahead import Ahead

Buffer = bytes | memoryview
"""Bytes of their own, or in memory that will be used again."""


class Scratch(threading.local):
    """What one load works with, each thread with its own; it goes when this object goes.

    Fresh memory for every tensor would cost its restoring as much again: the system clears each
    page of it when it is first touched.

    Attributes:
        ahead: the window over the file that small entries are read from.

    """

    def __init__(self) -> None:
        self._buffers: dict[str, bytearray] = {}
        self.ahead = Ahead()

    def take(self, use: str, size: int) -> memoryview:
        """`size` bytes of any content, good until this thread takes some for the same use."""
        buffer = self._buffers.get(use)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[use] = bytearray(size)
        return memoryview(buffer)[:size]
