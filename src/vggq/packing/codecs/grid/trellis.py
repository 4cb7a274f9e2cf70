"""Dependent quantization: the search for the sequence of levels with the least cost.

This is the 4-state dependent quantization of Schwarz et al., "Hybrid video coding with
trellis-coded quantization", 2019, https://doi.org/10.1109/DCC.2019.00026, in the variant that the
``grid`` codec decodes. In two of the states a level q stands for 2q steps, in the other two for
2q - sgn(q) steps. The parity of the level decides the next state. The cost is the squared error in
steps plus the Lagrange multiplier times the bits. The Viterbi algorithm (1967) finds the best path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ...._codecs._trellis import LANE_SIZE
from .rates import MAX_RATED_LEVEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float32]
    Levels = NDArray[np.int32]

# Lanes at a time, so that the data of each time step stays in the CPU cache.
_CHUNK_LANES: Final = 1 << 11
# The subsets of levels, as (parity, quantizer): even and odd levels of either quantizer.
_SUBSETS: Final = ((0, 0), (1, 0), (0, 1), (1, 1))
# The two branches into each state: the previous state, and the subset of the level.
_PREVIOUS_STATES: Final = np.array([[0, 1], [2, 3], [0, 1], [2, 3]])
_BRANCH_SUBSETS: Final = np.array([[0, 1], [2, 3], [1, 0], [3, 2]])


def quantize(bands: Values, rates: NDArray[np.float32], multiplier: float) -> Levels:
    """Return the levels of bands that are in units of the step size.

    Args:
        bands: of shape (bands, levels).
        rates: bits of each absolute level, from `estimate_rates`.
        multiplier: the Lagrange multiplier: the cost of a bit in squared steps.

    """
    count = bands.shape[1]
    lanes = -(-count // LANE_SIZE)
    padded = np.zeros((len(bands), lanes * LANE_SIZE), np.float32)
    padded[:, :count] = bands
    rows = padded.reshape(-1, LANE_SIZE)
    levels = np.empty(rows.shape, np.int32)
    costs = rates * np.float32(multiplier)
    for begin in range(0, len(rows), _CHUNK_LANES):
        chunk = slice(begin, begin + _CHUNK_LANES)
        band_of_row = np.arange(len(rows))[chunk] // lanes
        levels[chunk] = _quantize_lanes(rows[chunk], costs[band_of_row])
    quantized: Levels = levels.reshape(len(bands), -1)[:, :count]
    return quantized


def _quantize_lanes(rows: Values, costs: Values) -> Levels:
    """Return the levels of independent lanes.

    Args:
        rows: the lanes, of shape (lanes, levels).
        costs: the cost of the bits of each absolute level, of shape (lanes, 64).

    """
    magnitudes = np.abs(rows)
    offsets = (np.arange(len(rows)) * costs.shape[1])[:, None]
    candidates = [
        _cheapest_level(magnitudes, parity, odd, costs.reshape(-1), offsets)
        for parity, odd in _SUBSETS
    ]
    levels = np.stack([level for level, _ in candidates])
    subsets = _find_best_path(np.stack([cost.T for _, cost in candidates], axis=1))
    chosen = np.take_along_axis(levels, subsets.T[None].astype(np.intp), axis=0)[0]
    signed: Levels = np.where(rows < 0, -chosen, chosen)
    return signed


def _cheapest_level(
    magnitudes: Values, parity: int, odd: int, costs: Values, offsets: NDArray[np.intp]
) -> tuple[Levels, Values]:
    """Return the cheapest absolute level of one subset for each magnitude, and its cost.

    The candidates are the nearest level and the next one towards zero, which may take fewer bits.
    """
    nearest = np.rint((magnitudes + odd) / 4 - parity / 2).astype(np.int32)
    np.maximum(nearest, 0, out=nearest)
    nearest *= 2
    nearest += parity
    smaller = np.where(nearest > parity, nearest - 2, nearest)
    cost = _branch_cost(magnitudes, nearest, odd, costs, offsets)
    other = _branch_cost(magnitudes, smaller, odd, costs, offsets)
    cheaper = other < cost
    return np.where(cheaper, smaller, nearest), np.where(cheaper, other, cost)


def _branch_cost(
    magnitudes: Values, levels: Levels, odd: int, costs: Values, offsets: NDArray[np.intp]
) -> Values:
    multiples = 2 * levels
    if odd:
        multiples -= levels > 0
    bits: Values = costs.take(np.minimum(levels, MAX_RATED_LEVEL) + offsets)
    error = magnitudes - multiples.astype(np.float32)
    return np.square(error) + bits


def _find_best_path(costs: Values) -> NDArray[np.int8]:
    """Return the subset of each level on the cheapest path, of shape (levels, lanes).

    Args:
        costs: the costs of the branches, of shape (levels, 4 subsets, lanes).

    """
    length, _, lanes = costs.shape
    total = np.full((4, lanes), np.inf, np.float32)
    total[0] = 0
    took_second = np.empty((length, 4, lanes), bool)
    branches = np.empty((2, 4, lanes), np.float32)
    for time, cost in enumerate(costs):
        for branch in (0, 1):
            previous, subset = _PREVIOUS_STATES[:, branch], _BRANCH_SUBSETS[:, branch]
            np.add(total[previous], cost[subset], out=branches[branch])
        np.less(branches[1], branches[0], out=took_second[time])
        np.minimum(branches[0], branches[1], out=total)
    return _trace_back(took_second, total.argmin(axis=0))


def _trace_back(took_second: NDArray[np.bool_], state: NDArray[np.intp]) -> NDArray[np.int8]:
    """Follow the chosen branches from the last state of each lane back to the first."""
    lanes = np.arange(state.size)
    subsets = np.empty((len(took_second), state.size), np.int8)
    for time in range(len(took_second) - 1, -1, -1):
        branch = took_second[time, state, lanes].astype(np.intp)
        subsets[time] = _BRANCH_SUBSETS[state, branch]
        state = _PREVIOUS_STATES[state, branch]
    return subsets
