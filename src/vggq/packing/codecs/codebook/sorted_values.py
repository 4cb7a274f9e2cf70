"""Sorted weights with prefix sums, which give the squared error of any range about its mean.

Prefix sums are stored for every 256th value only. Nearly all memory is used by the float32 values.
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

# Values per stored prefix sum.
_SUM_BLOCK: Final = 256
_CHUNK: Final = 1 << 18
# Above this number of values, `unique` looks at a sample of them, and at all in either tail.
_MAX_UNSAMPLED: Final = 1 << 20
_TAIL: Final = 1 << 12


@dataclass(frozen=True, slots=True)
class PrefixSums:
    """The number, sum and sum of squares of the values before each of several indices.

    Values are taken relative to their overall mean. Three differences of these sums give the
    squared error of the range between two indices.
    """

    count: Floats
    total: Floats
    squares: Floats

    def errors(self, begin: Indices, end: Indices) -> Floats:
        """Return the squared error of each range [begin, end); infinite for an empty range."""
        count = self.count[end] - self.count[begin]
        total = self.total[end] - self.total[begin]
        squares = self.squares[end] - self.squares[begin]
        with np.errstate(divide="ignore", invalid="ignore"):
            errors = squares - total * total / count
        return np.where(count > 0, np.maximum(errors, 0), np.inf)

    def means(self) -> Floats:
        """Return the mean of each range between neighboring indices, none of them empty."""
        return np.diff(self.total) / np.diff(self.count)


@dataclass(frozen=True, slots=True)
class SortedValues:
    """Values in ascending order.

    Attributes:
        values: all values, float32.
        mean: their mean. Sums are of the differences from it, which avoids cancellation.
        block_totals: sums over the first j blocks.
        block_squares: sums of squares over the first j blocks.

    """

    values: NDArray[np.float32]
    mean: float
    block_totals: Floats
    block_squares: Floats

    @classmethod
    def from_sorted(cls, values: NDArray[np.float32]) -> SortedValues:
        """Return the prefix sums of values that are in ascending order."""
        mean = float(values.mean(dtype=np.float64))
        blocks = [
            (chunk.sum(axis=1), np.square(chunk).sum(axis=1)) for chunk in _blocks(values, mean)
        ]
        totals, squares = (np.concatenate(sums) for sums in zip(*blocks, strict=True))
        return cls(values, mean, _cumulative(totals), _cumulative(squares))

    def prefix_sums(self, indices: Indices) -> PrefixSums:
        """Return the sums of the values before each index."""
        block, rest = np.divmod(indices, _SUM_BLOCK)
        within = np.arange(_SUM_BLOCK)
        positions = np.minimum(block[:, None] * _SUM_BLOCK + within, self.values.size - 1)
        partial = np.where(within < rest[:, None], _center(self.values[positions], self.mean), 0.0)
        return PrefixSums(
            indices.astype(np.float64),
            self.block_totals[block] + partial.sum(axis=1),
            self.block_squares[block] + np.square(partial).sum(axis=1),
        )

    def count_up_to(self, bounds: Floats) -> Indices:
        """Count the values that are at most each bound."""
        # Comparing as float32 avoids a copy of all values as float64.
        nearest = bounds.astype(np.float32)
        below = np.where(nearest > bounds, np.nextafter(nearest, np.float32(-np.inf)), nearest)
        return np.searchsorted(self.values, below, side="right")

    def unique(self) -> tuple[Floats, Indices]:
        """Return distinct values, and the number of values before each.

        Of more than about a million values, a sample is used. It includes all values of both
        tails, where a single value may be worth a centroid.
        """
        size = self.values.size
        sample = self.values
        if size > _MAX_UNSAMPLED:
            step = -(-size // _MAX_UNSAMPLED)
            middle = sample[_TAIL:-_TAIL:step]
            sample = np.concatenate([sample[:_TAIL], middle, sample[-_TAIL:]])
        unique = np.unique(sample)
        return unique.astype(np.float64), np.searchsorted(self.values, unique)


def unique_up_to(ordered: NDArray[np.float32], limit: int) -> NDArray[np.float32] | None:
    """Return the distinct values of an ascending array, or None if there are more than `limit`."""
    changes = ordered[1:] != ordered[:-1]
    if np.count_nonzero(changes) >= limit:
        return None
    unique: NDArray[np.float32] = ordered[np.concatenate([[0], np.flatnonzero(changes) + 1])]
    return unique


def _blocks(values: NDArray[np.float32], mean: float) -> Iterator[Floats]:
    """Yield centered values in chunks of shape (blocks, 256), the last block padded with zeros."""
    for begin in range(0, values.size, _CHUNK):
        chunk = _center(values[begin : begin + _CHUNK], mean)
        padded = np.zeros(-(-chunk.size // _SUM_BLOCK) * _SUM_BLOCK)
        padded[: chunk.size] = chunk
        yield padded.reshape(-1, _SUM_BLOCK)


def _center(values: NDArray[np.float32], mean: float) -> Floats:
    return values.astype(np.float64) - mean


def _cumulative(sums: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(sums)])
