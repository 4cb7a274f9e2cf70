"""The costs of the branches of the trellis: of the cheapest level of each subset, looked up.

A subset has the even or the odd levels of one of the two quantizers. The cost of a level is the
squared error in steps, plus the Lagrange multiplier times the bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from .rates import MAX_RATED_LEVEL
from .viterbi import MAX_COST

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Entries of a table per step size. Magnitudes are rounded to the middles of these.
_RESOLUTION: Final = 64
# Integer costs per squared step.
_COST_UNIT: Final = 320
# The multiples of the levels of one subset are this many steps apart.
_PERIOD: Final = 4
# Above this magnitude all levels have the rate of `MAX_RATED_LEVEL`, and costs are periodic.
_MAX_MAGNITUDE: Final = 2 * MAX_RATED_LEVEL + 2 * _PERIOD + 2
# The subsets, as (h, parity).
_SUBSETS: Final = ((0, 0), (0, 1), (1, 0), (1, 1))


@dataclass(frozen=True, slots=True)
class BranchTables:
    """Tables for several statistics of levels.

    Attributes:
        costs: of shape (subsets, tables, entries).
        levels: the cheapest absolute level, of the same shape.

    """

    costs: NDArray[np.uint16]
    levels: NDArray[np.uint8]

    @classmethod
    def from_rates(
        cls, rates: NDArray[np.float32], multiplier: float, largest: float
    ) -> BranchTables:
        """Return tables for magnitudes up to `largest`.

        Args:
            rates: bits of each absolute level, of shape (tables, 64).
            multiplier: the Lagrange multiplier: the cost of a bit in squared steps.
            largest: the largest magnitude that will be looked up, in steps.

        """
        end = min(math.floor(largest) + 1, _MAX_MAGNITUDE)
        magnitudes = (np.arange(end * _RESOLUTION) + 0.5) / _RESOLUTION
        bits = rates.astype(np.float64) * multiplier
        found = [_cheapest_levels(magnitudes, h, parity, bits) for h, parity in _SUBSETS]
        costs = np.stack([cost for cost, _ in found])
        costs -= costs.min(axis=0)
        integers = np.minimum(np.rint(costs * _COST_UNIT), MAX_COST).astype(np.uint16)
        return cls(integers, np.stack([level for _, level in found]).astype(np.uint8))

    def look_up_costs(self, indices: NDArray[np.intp]) -> NDArray[np.uint16]:
        """Return the costs of all subsets, of shape (2 parities, 2 quantizers, *indices.shape)."""
        costs = np.empty((2, 2, *indices.shape), np.uint16)
        for (h, parity), table in zip(_SUBSETS, self.costs, strict=True):
            table.reshape(-1).take(indices, out=costs[parity, h], mode="clip")
        return costs

    def look_up_levels(
        self, subsets: NDArray[np.uint8], indices: NDArray[np.intp]
    ) -> NDArray[np.int32]:
        """Return the cheapest absolute level of the chosen subset for each index."""
        entries = self.levels[0].size
        levels = self.levels.reshape(-1).take(
            np.int64(entries) * subsets.astype(np.int64) + indices
        )
        return levels.astype(np.int32)

    def find_indices(
        self, magnitudes: NDArray[np.float32], tables: NDArray[np.intp]
    ) -> tuple[NDArray[np.intp], NDArray[np.int32] | None]:
        """Return the indices of magnitudes in steps, and what to add to the levels, if anything.

        Args:
            magnitudes: at most `largest`; changed in place.
            tables: the table of each magnitude; the shapes are broadcast.

        """
        entries = self.costs.shape[2]
        surplus = None
        if magnitudes.max(initial=0) >= _MAX_MAGNITUDE:
            periods = np.floor((magnitudes - np.float32(_MAX_MAGNITUDE - _PERIOD)) / _PERIOD)
            np.maximum(periods, 0, out=periods)
            magnitudes -= periods * np.float32(_PERIOD)
            surplus = periods.astype(np.int32) * (_PERIOD // 2)
        magnitudes *= np.float32(_RESOLUTION)
        indices = np.minimum(magnitudes.astype(np.intp), entries - 1)
        indices += tables * entries
        return indices, surplus


def _cheapest_levels(
    magnitudes: NDArray[np.float64], h: int, parity: int, bits: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the cost and the level of one subset for each table and magnitude.

    The candidates are the nearest level and the next one towards zero, which may take fewer bits.
    """
    nearest = np.rint((magnitudes + h) / _PERIOD - parity / 2).astype(np.int64)
    nearest = 2 * np.maximum(nearest, 0) + parity
    smaller = np.where(nearest > parity, nearest - 2, nearest)
    cost, other = (
        np.square(magnitudes - (2 * level - h * (level > 0)))
        + bits[:, np.minimum(level, MAX_RATED_LEVEL)]
        for level in (nearest, smaller)
    )
    cheaper = other < cost
    return np.where(cheaper, other, cost), np.where(cheaper, smaller, nearest)
