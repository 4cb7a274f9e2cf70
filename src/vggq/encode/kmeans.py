"""One-dimensional k-means: the centroids of least squared error.

Where it is affordable the exact algorithm does it (kmeans1d, after Grønlund et al., "Fast exact
k-means, k-medians and Bregman divergence clustering in 1D", 2017, https://arxiv.org/abs/1701.07204).
Everywhere else a dynamic programme over a few thousand bins of the sorted values finds the
optimum to within a few thousandths of a decibel, and Lloyd's algorithm on all values refines it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from .._require import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.intp]

# kmeans1d takes about 0.2 µs and 16 bytes for each value and centroid: up to here it costs no
# more than the programme does.
_EXACT_UP_TO: Final = 1 << 20
# Sixteen bins to a centroid: finer ones gain less than a thousandth of a decibel. A cell of six
# times its share of them is wide enough for any smooth distribution; where a cell comes out as
# wide as it may be, it may be wider.
_BINS_PER_CENTROID: Final = 16
_LEAST_BINS: Final = 1024
_CELL_SPAN: Final = 6
_WIDEST_SPAN: Final = 1024
_LLOYD_ROUNDS: Final = 50


def centroids(values: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """At most `k` ascending, distinct centroids of finite `values` of any shape.

    Where there are no more than `k` distinct values, these are they, and nothing is lost.

    Raises:
        MissingDependencyError: kmeans1d is needed and not installed.

    """
    distinct, counts = np.unique(values, return_counts=True)
    if distinct.size <= k:
        return distinct
    if values.size * k <= _EXACT_UP_TO:
        found = require("kmeans1d", "build").cluster(values.reshape(-1), k).centroids
        return np.unique(np.asarray(found, np.float64).astype(np.float32))
    line = _Line.of(distinct, counts)
    return np.unique((_lloyd(line, _programme(line, k)) + line.origin).astype(np.float32))


@dataclass(frozen=True, slots=True)
class _Line:
    """The distinct values in order, less `origin`, and sums over the first i of them.

    The squared error of any run of values about its mean is three differences of these sums;
    the origin, their mean, keeps the differences from cancelling.
    """

    origin: float
    points: Floats
    weight: Floats
    first: Floats
    second: Floats

    @classmethod
    def of(cls, distinct: NDArray[np.float32], counts: Indices) -> _Line:
        points = distinct.astype(np.float64)
        origin = float(np.average(points, weights=counts))
        points -= origin
        moment = points * counts
        return cls(origin, points, _sums(counts), _sums(moment), _sums(moment * points))

    def errors(self, begin: Indices, end: Indices) -> Floats:
        """The squared error of each run [begin, end); infinite for a run of nothing."""
        weight = self.weight[end] - self.weight[begin]
        first = self.first[end] - self.first[begin]
        second = self.second[end] - self.second[begin]
        with np.errstate(divide="ignore", invalid="ignore"):
            errors = second - first * first / weight
        return np.where(weight > 0, np.maximum(errors, 0), np.inf)

    def means(self, edges: Indices) -> Floats:
        """The mean of each run between neighbouring edges, none of them empty."""
        return np.diff(self.first[edges]) / np.diff(self.weight[edges])


def _sums(values: NDArray[np.float64] | Indices) -> Floats:
    sums = np.zeros(values.size + 1)
    np.cumsum(values, out=sums[1:])
    return sums


def _programme(line: _Line, k: int) -> Floats:
    """The centroids of the best division of the bins into `k` cells (Wang and Song, 2011)."""
    bins = _bins(line, max(_LEAST_BINS, _BINS_PER_CENTROID * k))
    count = bins.size - 1
    span = min(count, -(-_CELL_SPAN * count // k))
    while True:
        cells = _best_division(_errors(line, bins, span), min(k, count))
        if np.diff(cells).max() < span or span in (count, _WIDEST_SPAN):
            return line.means(bins[cells])
        span = min(count, 2 * span, _WIDEST_SPAN)


def _errors(line: _Line, bins: Indices, span: int) -> Floats:
    """[j, d] is the error of the cell of bins (j - d, …, j); infinite where there is none."""
    count = bins.size - 1
    begin = np.arange(1, count + 1)[:, None] - np.arange(1, span + 1)
    end = np.broadcast_to(np.arange(1, count + 1)[:, None], begin.shape)
    return np.where(begin >= 0, line.errors(bins[np.maximum(begin, 0)], bins[end]), np.inf)


def _best_division(errors: Floats, k: int) -> Indices:
    """The edges of the `k` cells of least total error.

    Args:
        errors: of shape (bins, span), as of `_errors`.
        k: the number of cells.

    """
    count, span = errors.shape
    # total[span + j] is the least error of the first j bins; what is before them cannot be.
    total = np.full(span + count + 1, np.inf)
    total[span] = 0.0
    choices = np.empty((k, count), np.uint16)
    for cell in range(k):
        # before[j, d] is total[span + j - d]: the least error of what lies left of the cell.
        before = np.lib.stride_tricks.sliding_window_view(total[:-1], span)[1:, ::-1]
        candidates = before + errors
        choices[cell] = candidates.argmin(axis=1)
        least = candidates[np.arange(count), choices[cell]]
        total = np.concatenate([np.full(span + 1, np.inf), least])
    edges = [count]
    for cell in range(k - 1, -1, -1):
        edges.append(edges[-1] - 1 - int(choices[cell, edges[-1] - 1]))
    return np.array(edges[::-1])


def _bins(line: _Line, count: int) -> Indices:
    """Edges, as indices of points, of at most `count` bins of equal mass p^(1/3).

    That is the density of the best centroids where there are many (Panter and Dite, 1951). A
    gap of width g beside c values has p = c / g, so its mass is c^(1/3) g^(2/3).
    """
    if line.points.size <= count:
        return np.arange(line.points.size + 1)
    counts = np.diff(line.weight)
    mass = np.cbrt((counts[1:] + counts[:-1]) / 2 * np.square(np.diff(line.points)))
    # A wide gap can be used by one edge only: what it has beyond that is for the others.
    for _ in range(20):
        mass = np.minimum(mass, mass.sum() / count)
    # Half a step off, so that rounding cannot move an edge out of the one gap it has.
    steps = (np.arange(count) + 0.5) * (mass.sum() / count)
    edges = np.searchsorted(np.cumsum(mass), steps) + 1
    return np.unique(np.concatenate([[0], edges, [line.points.size]]))


def _lloyd(line: _Line, centres: Floats) -> Floats:
    """Lloyd's algorithm (1957) from `centres` until no boundary moves."""
    previous = None
    for _ in range(_LLOYD_ROUNDS):
        inner = np.searchsorted(line.points, (centres[1:] + centres[:-1]) / 2, side="right")
        edges = np.unique(np.concatenate([[0], inner, [line.points.size]]))
        if previous is not None and np.array_equal(edges, previous):
            break
        previous, centres = edges, line.means(edges)
    return centres
