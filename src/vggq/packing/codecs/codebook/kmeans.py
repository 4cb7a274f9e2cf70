"""One-dimensional k-means: the centroids of least squared error.

Where it is affordable the exact algorithm does it (kmeans1d, after Grønlund et al., "Fast exact
k-means, k-medians and Bregman divergence clustering in 1D", 2017, https://arxiv.org/abs/1701.07204).
Everywhere else a dynamic programme over a few thousand bins of the sorted values finds the
optimum to within a few thousandths of a decibel, and Lloyd's algorithm on all values refines it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ...optional import require
from .sorted_values import Line, distinct_up_to

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .sorted_values import Floats, Indices, Sums

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
    points = np.sort(values, axis=None)
    if (distinct := distinct_up_to(points, k)) is not None:
        return distinct
    if values.size * k <= _EXACT_UP_TO:
        found = require("kmeans1d", "build").cluster(values.reshape(-1), k).centroids
        return np.unique(np.asarray(found, np.float64).astype(np.float32))
    line = Line.of(points)
    return np.unique((_lloyd(line, _programme(line, k)) + line.origin).astype(np.float32))


def _programme(line: Line, k: int) -> Floats:
    """The centroids of the best division of the bins into `k` cells (Wang and Song, 2011)."""
    bins = _bins(line, max(_LEAST_BINS, _BINS_PER_CENTROID * k))
    sums = line.sums(bins)
    count = bins.size - 1
    span = min(count, -(-_CELL_SPAN * count // k))
    while True:
        cells = _best_division(_errors(sums, span), min(k, count))
        if np.diff(cells).max() < span or span in (count, _WIDEST_SPAN):
            return line.sums(bins[cells]).means()
        span = min(count, 2 * span, _WIDEST_SPAN)


def _errors(sums: Sums, span: int) -> Floats:
    """[j, d] is the error of the cell of bins (j - d, …, j); infinite where there is none."""
    count = sums.weight.size - 1
    end = np.arange(1, count + 1)[:, None]
    begin = end - np.arange(1, span + 1)
    errors = sums.errors(np.maximum(begin, 0), np.broadcast_to(end, begin.shape))
    return np.where(begin >= 0, errors, np.inf)


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


def _bins(line: Line, count: int) -> Indices:
    """Edges, as indices of points, of at most `count` bins of equal mass p^(1/3).

    That is the density of the best centroids where there are many (Panter and Dite, 1951). A
    gap of width g beside c values has p = c / g, so its mass is c^(1/3) g^(2/3).
    """
    distinct, places = line.distinct()
    edges = np.concatenate([places, [line.points.size]])
    if distinct.size <= count:
        return edges
    counts = np.diff(edges)
    mass = np.cbrt((counts[1:] + counts[:-1]) / 2 * np.square(np.diff(distinct)))
    # A wide gap can be used by one edge only: what it has beyond that is for the others.
    for _ in range(20):
        mass = np.minimum(mass, mass.sum() / count)
    # Half a step off, so that rounding cannot move an edge out of the one gap it has.
    steps = (np.arange(count) + 0.5) * (mass.sum() / count)
    inner = np.searchsorted(np.cumsum(mass), steps) + 1
    chosen: Indices = edges[np.unique(np.concatenate([[0], inner, [distinct.size]]))]
    return chosen


def _lloyd(line: Line, centres: Floats) -> Floats:
    """Lloyd's algorithm (1957) from `centres` until no boundary moves."""
    previous = None
    for _ in range(_LLOYD_ROUNDS):
        inner = line.count_up_to((centres[1:] + centres[:-1]) / 2 + line.origin)
        edges = np.unique(np.concatenate([[0], inner, [line.points.size]]))
        if previous is not None and np.array_equal(edges, previous):
            break
        previous, centres = edges, line.sums(edges).means()
    return centres
