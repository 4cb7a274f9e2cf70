"""Small entries that lie one behind the other, read many at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._container import ReadAt

_MOST: Final = 1 << 18


class Ahead:
    """A window over a file, for one thread.

    It grows each time that it is read to its end and on, so that a lone read takes nothing beyond
    itself.
    """

    def __init__(self, read_at: ReadAt) -> None:
        self._read_at = read_at
        self._start = 0
        self._window = b""

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; fewer where the file ends."""
        begin = offset - self._start
        if not 0 <= begin <= len(self._window) - size:
            more = 2 * len(self._window) if 0 <= begin <= len(self._window) else 0
            self._window = self._read_at(offset, max(size, min(more, _MOST)))
            self._start, begin = offset, 0
        return self._window[begin : begin + size]
