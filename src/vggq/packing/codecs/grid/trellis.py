"""Dependent quantization: the search for the sequence of levels with the least cost.

`_codecs/_trellis.py` of the decoder says what a level means. The cost of a sequence is the squared
error in steps plus the Lagrange multiplier times the bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...._codecs._trellis import LANE_SIZE
from .branches import BranchTables
from .viterbi import Trellis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float32]
    Levels = NDArray[np.int32]


def quantize(bands: Values, rates: NDArray[np.float32], multiplier: float, states: int) -> Levels:
    """Return the levels of bands that are in units of the step size.

    Args:
        bands: of shape (bands, levels).
        rates: bits of each absolute level, from `estimate_rates`.
        multiplier: the Lagrange multiplier: the cost of a bit in squared steps.
        states: the number of states, 4 to 256.

    """
    count = bands.shape[1]
    length = min(max(count, 1), LANE_SIZE)
    lanes = -(-count // length)
    padded = np.zeros((len(bands), lanes * length), np.float32)
    padded[:, :count] = bands
    rows = padded.reshape(-1, length)
    levels = np.empty(rows.shape, np.int32)
    trellis = Trellis(states)
    for begin in range(0, len(rows), trellis.lanes):
        chunk = slice(begin, begin + trellis.lanes)
        bands_of_rows = np.arange(len(rows))[chunk] // lanes
        first = bands_of_rows[0]
        local = rates[first : bands_of_rows[-1] + 1]
        levels[chunk] = _quantize_lanes(
            rows[chunk].T, local, bands_of_rows - first, multiplier, trellis
        ).T
    quantized: Levels = levels.reshape(len(bands), -1)[:, :count]
    return quantized


def _quantize_lanes(
    values: Values,
    rates: NDArray[np.float32],
    tables: NDArray[np.intp],
    multiplier: float,
    trellis: Trellis,
) -> Levels:
    """Return the levels of independent lanes.

    Args:
        values: the lanes, of shape (levels, lanes).
        rates: bits of each absolute level, of shape (tables, 64).
        tables: the index of the rates of each lane.
        multiplier: the Lagrange multiplier.
        trellis: the trellis.

    """
    magnitudes = np.abs(values, order="C")
    lookup = BranchTables.from_rates(rates, multiplier, float(magnitudes.max(initial=0)))
    indices, surplus = lookup.find_indices(magnitudes, tables)
    subsets = trellis.find_best_paths(lookup.look_up_costs(indices))
    levels = lookup.look_up_levels(subsets, indices)
    if surplus is not None:
        levels += surplus
    np.negative(levels, out=levels, where=values < 0)
    return levels
