"""K-means in one dimension: the centroids with the least squared error.

Small problems are solved exactly by kmeans1d, after Grønlund et al., "Fast exact k-means, k-medians
and Bregman divergence clustering in 1D", 2017, https://arxiv.org/abs/1701.07204. For larger ones
a dynamic program over a few thousand bins of the sorted values comes within a few thousandths of
a decibel of the optimum, and Lloyd's algorithm on all values refines the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ...optional import require
from .sorted_values import SortedValues, unique_up_to

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .sorted_values import Floats, Indices, PrefixSums

# kmeans1d takes about 0.2 µs and 16 bytes per value and centroid. Up to this product of their
# numbers, it costs no more than the dynamic program.
_MAX_EXACT_COST: Final = 1 << 20
# More than 16 bins per centroid gain less than a thousandth of a decibel.
_BINS_PER_CENTROID: Final = 16
_MIN_BINS: Final = 1024
# Six times the average number of bins is a wide enough cell for any smooth distribution. If the
# widest cell of a solution reaches the limit, the limit is doubled, up to _MAX_SPAN.
_SPAN_FACTOR: Final = 6
_MAX_SPAN: Final = 1024
_MAX_LLOYD_ITERATIONS: Final = 50


def find_centroids(
    values: NDArray[np.float32], k: int, *, max_exact_cost: int = _MAX_EXACT_COST
) -> NDArray[np.float32]:
    """Return at most `k` ascending, distinct centroids of finite `values` of any shape.

    If there are at most `k` distinct values, these are the centroids, and nothing is lost.

    Args:
        values: the weights.
        k: the maximum number of centroids.
        max_exact_cost: the number of values times `k` up to which kmeans1d is used.

    Raises:
        MissingDependencyError: kmeans1d is needed and not installed.

    """
    ordered = np.sort(values, axis=None)
    if (unique := unique_up_to(ordered, k)) is not None:
        return unique
    if values.size * k <= max_exact_cost:
        found = require("kmeans1d", "build").cluster(values.reshape(-1), k).centroids
        return np.unique(np.asarray(found, np.float64).astype(np.float32))
    points = SortedValues.from_sorted(ordered)
    centroids = _refine(points, _solve_binned(points, k))
    return np.unique((centroids + points.mean).astype(np.float32))


def _solve_binned(points: SortedValues, k: int) -> Floats:
    """Return the centroids of the best partition of the bins into `k` cells.

    The dynamic program is that of Wang and Song, "Ckmeans.1d.dp: Optimal k-means clustering in one
    dimension by dynamic programming", 2011, with a limit on the width of a cell.
    """
    edges = _bin_edges(points, max(_MIN_BINS, _BINS_PER_CENTROID * k))
    sums = points.prefix_sums(edges)
    bins = edges.size - 1
    span = min(bins, -(-_SPAN_FACTOR * bins // k))
    while True:
        cells = _best_partition(_cell_errors(sums, span), min(k, bins))
        if np.diff(cells).max() < span or span in (bins, _MAX_SPAN):
            return points.prefix_sums(edges[cells]).means()
        span = min(bins, 2 * span, _MAX_SPAN)


def _cell_errors(sums: PrefixSums, span: int) -> Floats:
    """Return an array in which [j, d] is the squared error of the cell of bins j - d to j.

    The error is infinite if j - d is negative.
    """
    bins = sums.count.size - 1
    end = np.arange(1, bins + 1)[:, None]
    begin = end - np.arange(1, span + 1)
    errors = sums.errors(np.maximum(begin, 0), np.broadcast_to(end, begin.shape))
    return np.where(begin >= 0, errors, np.inf)


def _best_partition(errors: Floats, k: int) -> Indices:
    """Return the edges of the `k` cells with the least total error.

    Args:
        errors: the result of `_cell_errors`, of shape (bins, span).
        k: the number of cells.

    """
    bins, span = errors.shape
    # total[span + j] is the least error of the first j bins; the entries before it are padding.
    total = np.full(span + bins + 1, np.inf)
    total[span] = 0.0
    choices = np.empty((k, bins), np.uint16)
    for cell in range(k):
        # left[j, d] is total[span + j - d]: the least error of the bins to the left of the cell.
        left = np.lib.stride_tricks.sliding_window_view(total[:-1], span)[1:, ::-1]
        candidates = left + errors
        choices[cell] = candidates.argmin(axis=1)
        minimum = candidates[np.arange(bins), choices[cell]]
        total = np.concatenate([np.full(span + 1, np.inf), minimum])
    edges = [bins]
    for cell in range(k - 1, -1, -1):
        edges.append(edges[-1] - 1 - int(choices[cell, edges[-1] - 1]))
    return np.array(edges[::-1])


def _bin_edges(points: SortedValues, limit: int) -> Indices:
    """Return the edges, as indices of values, of at most `limit` bins of equal mass p^(1/3).

    This is the density of the optimal centroids at high rates (Panter and Dite, "Quantization
    distortion in pulse-count modulation with nonuniform spacing of levels", 1951). A gap of width
    g next to c values has the density p = c / g, and therefore the mass c^(1/3) g^(2/3).
    """
    unique, starts = points.unique()
    edges = np.concatenate([starts, [points.values.size]])
    if unique.size <= limit:
        return edges
    counts = np.diff(edges)
    mass = np.cbrt((counts[1:] + counts[:-1]) / 2 * np.square(np.diff(unique)))
    # A gap holds one edge at most. The mass that exceeds one edge is left to the other gaps.
    for _ in range(20):
        mass = np.minimum(mass, mass.sum() / limit)
    # The offset of half a step keeps rounding from moving an edge to a neighboring gap.
    steps = (np.arange(limit) + 0.5) * (mass.sum() / limit)
    inner = np.searchsorted(np.cumsum(mass), steps) + 1
    chosen: Indices = edges[np.unique(np.concatenate([[0], inner, [unique.size]]))]
    return chosen


def _refine(points: SortedValues, centroids: Floats) -> Floats:
    """Run Lloyd's algorithm (1957) from `centroids` until no boundary moves."""
    previous = None
    for _ in range(_MAX_LLOYD_ITERATIONS):
        inner = points.count_up_to((centroids[1:] + centroids[:-1]) / 2 + points.mean)
        edges = np.unique(np.concatenate([[0], inner, [points.values.size]]))
        if previous is not None and np.array_equal(edges, previous):
            break
        previous, centroids = edges, points.prefix_sums(edges).means()
    return centroids
