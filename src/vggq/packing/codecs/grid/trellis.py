"""Dependent quantization: of all sequences of levels, one of the least cost.

4-state dependent quantization (Schwarz et al., 2019, https://doi.org/10.1109/DCC.2019.00026) as the
``grid`` codec has it. In two of the states a level q stands for 2q steps, in the other two for
2q - sgn(q), and the parity of the level decides the next state. The costs are squared errors in
steps and `weight` times bits; the best path is found as Viterbi (1967) did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ...._codecs._trellis import LANE
from .rates import LARGEST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Levels = NDArray[np.int32]

# Lanes at a time: what is kept of each step stays in the cache.
_LANES: Final = 1 << 11
# The subsets of levels: even and odd ones of either quantizer.
_SUBSETS: Final = ((0, 0), (1, 0), (0, 1), (1, 1))
# How each state is reached: the earlier state and the subset of the level, in either way.
_FROM: Final = np.array([[0, 1], [2, 3], [0, 1], [2, 3]])
_BY: Final = np.array([[0, 1], [2, 3], [1, 0], [3, 2]])


def quantize(bands: Floats, rates: NDArray[np.float32], weight: float) -> Levels:
    """The levels of bands that are given in steps.

    Args:
        bands: of shape (bands, levels).
        rates: bits of each absolute level, as of `rates_of`.
        weight: what a bit costs, in squared steps.

    """
    count = bands.shape[1]
    lanes = -(-count // LANE)
    padded = np.zeros((len(bands), lanes * LANE), np.float32)
    padded[:, :count] = bands
    rows = padded.reshape(-1, LANE)
    levels = np.empty(rows.shape, np.int32)
    costs = rates * np.float32(weight)
    for begin in range(0, len(rows), _LANES):
        piece = slice(begin, begin + _LANES)
        band_of_row = np.arange(len(rows))[piece] // lanes
        levels[piece] = _quantize_lanes(rows[piece], costs[band_of_row])
    quantized: Levels = levels.reshape(len(bands), -1)[:, :count]
    return quantized


def _quantize_lanes(rows: Floats, costs: Floats) -> Levels:
    """Levels of shape (lanes, levels of each), each lane with its own costs of levels."""
    sizes = np.abs(rows)
    offsets = (np.arange(len(rows)) * costs.shape[1])[:, None]
    found = [_nearest(sizes, parity, odd, costs.reshape(-1), offsets) for parity, odd in _SUBSETS]
    levels = np.stack([level for level, _ in found])
    subsets = _best_path(np.stack([cost.T for _, cost in found], axis=1))
    chosen = np.take_along_axis(levels, subsets.T[None].astype(np.intp), axis=0)[0]
    signed: Levels = np.where(rows < 0, -chosen, chosen)
    return signed


def _nearest(
    sizes: Floats, parity: int, odd: int, costs: Floats, offsets: NDArray[np.intp]
) -> tuple[Levels, Floats]:
    """The cheapest absolute level of one parity in one quantizer, and its cost.

    The nearest is held against the next one nearer to zero, which may cost fewer bits.
    """
    nearest = np.rint((sizes + odd) / 4 - parity / 2).astype(np.int32)
    np.maximum(nearest, 0, out=nearest)
    nearest *= 2
    nearest += parity
    smaller = np.where(nearest > parity, nearest - 2, nearest)
    cost = _cost(sizes, nearest, odd, costs, offsets)
    other = _cost(sizes, smaller, odd, costs, offsets)
    cheaper = other < cost
    return np.where(cheaper, smaller, nearest), np.where(cheaper, other, cost)


def _cost(
    sizes: Floats, levels: Levels, odd: int, costs: Floats, offsets: NDArray[np.intp]
) -> Floats:
    places = 2 * levels
    if odd:
        places -= levels > 0
    bits: Floats = costs.take(np.minimum(levels, LARGEST) + offsets)
    error = sizes - places.astype(np.float32)
    return np.square(error) + bits


def _best_path(costs: Floats) -> NDArray[np.int8]:
    """The subset of each level on the cheapest path.

    Args:
        costs: of shape (levels, 4 subsets, lanes).

    """
    length, _, lanes = costs.shape
    total = np.full((4, lanes), np.inf, np.float32)
    total[0] = 0
    second = np.empty((length, 4, lanes), bool)
    ways = np.empty((2, 4, lanes), np.float32)
    for step, cost in enumerate(costs):
        for way in (0, 1):
            np.add(total[_FROM[:, way]], cost[_BY[:, way]], out=ways[way])
        np.less(ways[1], ways[0], out=second[step])
        np.minimum(ways[0], ways[1], out=total)
    return _trace(second, total.argmin(axis=0))


def _trace(second: NDArray[np.bool_], state: NDArray[np.intp]) -> NDArray[np.int8]:
    lanes = np.arange(state.size)
    subsets = np.empty((len(second), state.size), np.int8)
    for step in range(len(second) - 1, -1, -1):
        way = second[step, state, lanes].astype(np.intp)
        subsets[step] = _BY[state, way]
        state = _FROM[state, way]
    return subsets
