"""Streams of the ``grid`` codec: two ways to store the levels of one band in bytes.

A `Plain` stream has a signed byte for each level. If levels are wide, the byte is the upper bits of
the level, and the band stores the low bits elsewhere. A `Runs` stream has a byte for each level
but zeros, and the byte includes the number of zeros before the level. In both, an escape stands for
a level whose value the band stores elsewhere.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    SignedBytes = NDArray[np.int8]

ESCAPE: Final = -128
"""The byte of an escape in a plain stream, and the level of an escape in an expanded stream."""

ZERO_RUN: Final = 255
"""The symbol of a `Runs` stream that stands for zeros only."""

MAX_LEVELS_PER_BYTE: Final = ZERO_RUN // 3
"""Maximum number of levels that one byte of a stream stands for."""

SHIFTS: Final = (0, 1, 2, 4, 8)
"""Possible numbers of low bits that a band with a plain stream stores elsewhere."""

MAX_BYTE_LEVEL: Final = 127
"""Largest absolute value of a signed byte that is not an escape."""

_RUNS_CODE: Final = 128
# Symbols to process at a time: each takes up to 17 bytes meanwhile.
_CHUNK: Final = 1 << 16


# Dataclasses take many times as long to create, and the first load of a grid waits for these.
class Plain(NamedTuple):
    """A byte for each level, without the lowest `shift` bits of the level."""

    shift: int

    @property
    def code(self) -> int:
        """The kind of the stream, as the header of its band stores it."""
        return self.shift

    def expand(self, streams: Bytes, count: int) -> SignedBytes:  # noqa: ARG002 - as in Runs
        """Return the upper bits of each level, and ESCAPE for escapes.

        Args:
            streams: streams of shape (bands, levels).
            count: the number of levels of a band.

        """
        return streams.view(np.int8)


class Runs(NamedTuple):
    """A byte for each level but zeros; levels beyond `max_level`, 1 to 127, are escapes.

    A symbol below `level_symbols` stands for symbol // `endings` zeros, and then the ending with
    the index symbol % `endings`. The endings are the levels 1, …, max_level, -1, …, -max_level, and
    the escape. The symbol ZERO_RUN stands for `run_length` zeros only; if it is the last symbol,
    zeros beyond the end of the band are ignored.
    """

    max_level: int

    @property
    def code(self) -> int:
        """The kind of the stream, as the header of its band stores it."""
        return _RUNS_CODE + self.max_level

    @property
    def shift(self) -> int:
        """The number of low bits that are stored elsewhere: always 0."""
        return 0

    @property
    def endings(self) -> int:
        """The number of endings, including the escape."""
        return 2 * self.max_level + 1

    @property
    def run_length(self) -> int:
        """The number of zeros of ZERO_RUN; before a level there are fewer."""
        return ZERO_RUN // self.endings

    @property
    def level_symbols(self) -> int:
        """The number of symbols that end with a level or an escape."""
        return self.run_length * self.endings

    def expand(self, streams: Bytes, count: int) -> SignedBytes:
        """Return each level, and ESCAPE for escapes.

        Args:
            streams: streams of shape (bands, bytes).
            count: the number of levels of a band.

        Raises:
            ValueError: a symbol is undefined, or a stream has not `count` levels.

        """
        for stream in streams:
            self._validate(stream, count)
        expanded = np.zeros((len(streams), count), np.int8)
        for stream, band in zip(streams, expanded, strict=True):
            self._expand_into(stream, band)
        return expanded

    def _validate(self, stream: Bytes, count: int) -> None:
        end = 0
        for start in range(0, stream.size, _CHUNK):
            symbols = stream[start : start + _CHUNK]
            # ZERO_RUN + 1 is 0 in uint8.
            if (symbols + np.uint8(1)).max() > self.level_symbols:
                raise ValueError("a band has an undefined symbol")
            zeros = symbols // np.uint8(self.endings)
            end += int(zeros.sum(dtype=np.uint32) + np.count_nonzero(symbols != ZERO_RUN))
        excess = end - count
        last = int(stream[-1]) if stream.size else 0
        if excess and not (last == ZERO_RUN and 0 < excess < self.run_length):
            raise ValueError(f"a band of {count} levels has runs of {end} levels")

    def _expand_into(self, stream: Bytes, expanded: SignedBytes) -> None:
        levels = self._last_levels()
        last = -1
        for start in range(0, stream.size, _CHUNK):
            symbols = stream[start : start + _CHUNK]
            lengths = symbols // np.uint8(self.endings)
            lengths += symbols != ZERO_RUN
            places = np.cumsum(lengths, dtype=np.intp)
            places += last
            last = places[-1]
            # The last symbol may stand for zeros beyond the end of the band.
            places[-1] = min(last, expanded.size - 1)
            expanded[places] = levels.take(symbols)

    def _last_levels(self) -> SignedBytes:
        """Return, for each symbol, the last of its levels."""
        index = np.arange(256) % self.endings
        levels = np.where(index < self.max_level, index + 1, self.max_level - 1 - index)
        levels[index == self.endings - 1] = ESCAPE
        levels[ZERO_RUN] = 0
        return levels.astype(np.int8)


Kind = Plain | Runs


# Errors are not cached, so there are only as many entries as valid codes.
@cache
def kind_from_code(code: int) -> Kind:
    """Return the kind of stream with this code.

    Raises:
        ValueError: no kind has this code.

    """
    if code in SHIFTS:
        return Plain(code)
    if 1 <= code - _RUNS_CODE <= MAX_BYTE_LEVEL:
        return Runs(code - _RUNS_CODE)
    raise ValueError(f"a band has the unknown kind {code}")
