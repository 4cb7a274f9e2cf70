"""How the levels of one band of the ``grid`` codec are told by its stream.

Plain: a signed byte for each level, which leaves out its lowest bits where the levels are wide;
those lie elsewhere, several to a byte. Runs: a byte for each level but zero, with the number of
zeros before it. An escape tells that a level's value lies elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Signed = NDArray[np.int8]

ESCAPE: Final = -128
MORE_ZEROS: Final = 255
MOST_ZEROS: Final = MORE_ZEROS // 3
"""The most levels that a byte of a stream tells."""
SHIFTS: Final = (0, 1, 2, 4, 8)
MOST: Final = 127
_RUNS: Final = 128


@dataclass(frozen=True, slots=True)
class Plain:
    """A byte for each level, and the lowest `shift` bits apart: 0, 1, 2, 4 or 8."""

    shift: int

    @property
    def code(self) -> int:
        """What a band's header says of its kind."""
        return self.shift

    def count_escapes(self, stream: Bytes, count: int) -> int:
        """Prove a stream of `count` levels.

        Raises:
            ValueError: there is not one byte for each level.

        """
        if stream.size != count:
            raise ValueError(f"a band of {count} levels has {stream.size} bytes")
        return int(np.count_nonzero(stream.view(np.int8) == ESCAPE))

    def expand(self, stream: Bytes, count: int) -> Signed:
        """The upper bits of each level of a proved stream, and -128 for escapes."""
        return stream.view(np.int8)[:count]


@dataclass(frozen=True, slots=True)
class Runs:
    """A byte for each level but zero; those beyond `most`, 1 to 127, are escapes.

    A symbol s below `used` is s // width zeros and then the level of index s % width: the levels
    1, …, most, -1, …, -most, and the escape. The symbol 255 is `reach` zeros and no level; where
    it is the last, zeros beyond the band's end are ignored.
    """

    most: int

    @property
    def code(self) -> int:
        """What a band's header says of its kind."""
        return _RUNS + self.most

    @property
    def shift(self) -> int:
        """No bits lie apart."""
        return 0

    @property
    def width(self) -> int:
        """How many levels a symbol can end with, the escape among them."""
        return 2 * self.most + 1

    @property
    def reach(self) -> int:
        """One more than the most zeros before a level."""
        return MORE_ZEROS // self.width

    @property
    def used(self) -> int:
        """The number of symbols that end with a level."""
        return self.reach * self.width

    def count_escapes(self, stream: Bytes, count: int) -> int:
        """Prove a stream of `count` levels.

        Raises:
            ValueError: a symbol is none, or the runs do not end where the band does.

        """
        found = np.bincount(stream, minlength=256)
        steps, _ = self._tables()
        if found[steps == 0].any():
            raise ValueError("a symbol of a band stands for nothing")
        end = int(found @ steps.astype(np.int64))
        beyond = end - count
        last = int(stream[-1]) if stream.size else 0
        if beyond and not (last == MORE_ZEROS and 0 < beyond < self.reach):
            raise ValueError(f"the runs of a band of {count} levels end at {end}")
        return int(found[self.width - 1 : self.used : self.width].sum())

    def expand(self, stream: Bytes, count: int) -> Signed:
        """Each level of a proved stream, and -128 for escapes."""
        steps, levels = self._tables()
        ends = np.cumsum(steps.take(stream), dtype=np.intp)
        # The last symbol may go beyond the band's end.
        expanded = np.zeros(count + self.reach, np.int8)
        expanded[ends - 1] = levels.take(stream)
        return expanded[:count]

    def _tables(self) -> tuple[Bytes, Signed]:
        """How far each symbol goes, 0 where it is none, and the level that it ends with."""
        symbols = np.arange(256)
        steps = np.where(symbols < self.used, symbols // self.width + 1, 0)
        steps[MORE_ZEROS] = self.reach
        index = symbols % self.width
        levels = np.where(index < self.most, index + 1, self.most - 1 - index)
        levels[index == self.width - 1] = ESCAPE
        levels[MORE_ZEROS] = 0
        return steps.astype(np.uint8), levels.astype(np.int8)


Kind = Plain | Runs


def kind_of(code: int) -> Kind:
    """The kind of which a band's header says `code`.

    Raises:
        ValueError: there is none.

    """
    if code in SHIFTS:
        return Plain(code)
    if 1 <= code - _RUNS <= MOST:
        return Runs(code - _RUNS)
    raise ValueError(f"a band is of the unknown kind {code}")
