"""Weights in order on a line, and the squared error of any run of them about its mean.

What grows with their number is the sorted float32 alone: sums are kept for every 256th of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.intp]

_BLOCK: Final = 256
_PIECE: Final = 1 << 18
# Of more points than this, the bins see every so many only, and all at both ends.
_THIN_FROM: Final = 1 << 20
_ENDS: Final = 1 << 12


@dataclass(frozen=True, slots=True)
class Sums:
    """Number, sum and sum of squares of the points before each of some indices.

    The squared error of the run between two of them is three differences of these.
    """

    weight: Floats
    first: Floats
    second: Floats

    def errors(self, begin: Indices, end: Indices) -> Floats:
        """The squared error of each run [begin, end); infinite for a run of nothing."""
        weight = self.weight[end] - self.weight[begin]
        first = self.first[end] - self.first[begin]
        second = self.second[end] - self.second[begin]
        with np.errstate(divide="ignore", invalid="ignore"):
            errors = second - first * first / weight
        return np.where(weight > 0, np.maximum(errors, 0), np.inf)

    def means(self) -> Floats:
        """The mean of each run between neighbours, none of them empty."""
        return np.diff(self.first) / np.diff(self.weight)


@dataclass(frozen=True, slots=True)
class Line:
    """Ascending points.

    Attributes:
        points: all of them, float32.
        origin: their mean. Sums are of differences from it, which keeps theirs from cancelling.
        first: sums over the first j blocks.
        second: sums of squares, likewise.

    """

    points: NDArray[np.float32]
    origin: float
    first: Floats
    second: Floats

    @classmethod
    def of(cls, points: NDArray[np.float32]) -> Line:
        """From ascending points."""
        origin = float(points.mean(dtype=np.float64))
        blocks = [
            (part.sum(axis=1), np.square(part).sum(axis=1)) for part in _blocks(points, origin)
        ]
        first, second = (np.concatenate(sums) for sums in zip(*blocks, strict=True))
        return cls(points, origin, _cumulative(first), _cumulative(second))

    def sums(self, indices: Indices) -> Sums:
        """The sums of the points before each index."""
        block, rest = np.divmod(indices, _BLOCK)
        within = np.arange(_BLOCK)
        places = np.minimum(block[:, None] * _BLOCK + within, self.points.size - 1)
        parts = np.where(
            within < rest[:, None], _differences(self.points[places], self.origin), 0.0
        )
        return Sums(
            indices.astype(np.float64),
            self.first[block] + parts.sum(axis=1),
            self.second[block] + np.square(parts).sum(axis=1),
        )

    def count_up_to(self, bounds: Floats) -> Indices:
        """How many points are at most each bound."""
        # Compared as float32, so that the points need no copy as float64.
        nearest = bounds.astype(np.float32)
        below = np.where(nearest > bounds, np.nextafter(nearest, np.float32(-np.inf)), nearest)
        return np.searchsorted(self.points, below, side="right")

    def distinct(self) -> tuple[Floats, Indices]:
        """Distinct points, and how many there are before each.

        All of them, where they are no more than a million; else a selection of about so many,
        with every one at either end, where a single point may be worth a centroid.
        """
        size = self.points.size
        some = self.points
        if size > _THIN_FROM:
            step = -(-size // _THIN_FROM)
            some = np.concatenate([some[:_ENDS], some[_ENDS:-_ENDS:step], some[-_ENDS:]])
        values = np.unique(some)
        return values.astype(np.float64), np.searchsorted(self.points, values)


def distinct_up_to(points: NDArray[np.float32], most: int) -> NDArray[np.float32] | None:
    """The distinct values among ascending points, where they are no more than `most`."""
    changes = points[1:] != points[:-1]
    if np.count_nonzero(changes) >= most:
        return None
    distinct: NDArray[np.float32] = points[np.concatenate([[0], np.flatnonzero(changes) + 1])]
    return distinct


def _blocks(points: NDArray[np.float32], origin: float) -> Iterator[Floats]:
    """The differences from the origin, a block to a row; beyond the last point they are 0."""
    for begin in range(0, points.size, _PIECE):
        piece = _differences(points[begin : begin + _PIECE], origin)
        padded = np.zeros(-(-piece.size // _BLOCK) * _BLOCK)
        padded[: piece.size] = piece
        yield padded.reshape(-1, _BLOCK)


def _differences(points: NDArray[np.float32], origin: float) -> Floats:
    return points.astype(np.float64) - origin


def _cumulative(sums: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(sums)])
