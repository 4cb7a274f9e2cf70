"""The Viterbi algorithm (1967) on the trellis of dependent quantization, for many lanes at once.

The state before a level holds what the earlier bits h and parities p add to the parity check of
this level and of the next ones (`POLYNOMIALS` of the decoder); its lowest bit is h. An even and an
odd level lead to two different states. Costs are integers, so that the result does not depend on
the machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ...._codecs._trellis import POLYNOMIALS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Costs = NDArray[np.uint16]
    Bits = NDArray[np.uint8]

MAX_COST: Final = 4095
"""Largest cost of a branch."""

# All states can be reached from each other within eight levels, so that the totals of two states
# never differ by more than the costs of eight branches. The totals grow by as much before the least
# of them is subtracted, and remain below 2^16.
_SUBTRACTION_INTERVAL: Final = 8
# More than the cheapest path to any state once all can be reached.
_UNREACHABLE: Final = _SUBTRACTION_INTERVAL * MAX_COST + 1
# States times lanes: the data of one level stay in the processor's cache.
_CHUNK: Final = 1 << 15


class Trellis:
    """The states of dependent quantization, and the transitions between them.

    Attributes:
        states: the number of states, 4 to 256.
        lanes: a good number of lanes to search at once.

    """

    def __init__(self, states: int) -> None:
        self.states = states
        self.lanes = max(_CHUNK // states, 64)
        divisor, factor = (polynomial >> 1 for polynomial in POLYNOMIALS[states])
        half = states // 2
        # The highest bit of the next state is h of this level. The lower half of the next states
        # follows the even states, whose h is 0; state s follows 2s, and the xor of both terms.
        self._sources = [
            [
                _reverse_axes(term, half)
                for term in (h * divisor % half, h * divisor % half ^ factor)
            ]
            for h in (0, 1)
        ]
        state = np.arange(states)
        h = state // half
        self._previous = np.stack(
            [(state ^ h * divisor ^ parity * factor) % half * 2 + h for parity in (0, 1)], axis=1
        ).reshape(-1)
        self._subsets = np.stack([2 * h + parity for parity in (0, 1)], axis=1).reshape(-1)

    def find_best_paths(self, costs: Costs) -> Bits:
        """Return the subset of each level on the cheapest path of each lane.

        Args:
            costs: the cost of the best level of each subset, at most `MAX_COST`. The shape is
                (2 parities, 2 quantizers h, levels, lanes).

        Returns:
            2 h + p of each level, of shape (levels, lanes).

        """
        length, lanes = costs.shape[2:]
        totals = np.full((self.states, lanes), _UNREACHABLE, np.uint16)
        totals[0] = 0
        branches = np.empty((2, self.states, lanes), np.uint16)
        took_odd = np.empty((self.states, lanes), bool)
        decisions = np.empty((length, self.states, -(-lanes // 8)), np.uint8)
        steps = self._steps(totals, branches, took_odd)
        pairs = totals.reshape(-1, 2, lanes)
        even, odd = branches.reshape(2, -1, 2, lanes)
        for time in range(length):
            np.add(pairs, costs[0, :, time], out=even)
            np.add(pairs, costs[1, :, time], out=odd)
            for after_even, after_odd, total, is_odd in steps:
                np.less(after_odd, after_even, out=is_odd)
                np.minimum(after_odd, after_even, out=total)
            decisions[time] = np.packbits(took_odd, axis=1)
            if time % _SUBTRACTION_INTERVAL == _SUBTRACTION_INTERVAL - 1:
                totals -= totals.min(axis=0)
        return self._trace_back(decisions, totals.argmin(axis=0))

    def _steps(
        self, totals: Costs, branches: Costs, took_odd: NDArray[np.bool_]
    ) -> list[tuple[Costs, Costs, Costs, NDArray[np.bool_]]]:
        """Return views for each h: branches after even and odd levels, totals, and decisions.

        The xor of an index of states with a constant reverses axes of length 2, so that these
        views need no copies.
        """
        shape = (*(2,) * (self.states.bit_length() - 2), totals.shape[1])
        steps = []
        for h, sources in enumerate(self._sources):
            even, odd = (
                branch.reshape(-1, 2, shape[-1])[:, h].reshape(shape)[source]
                for branch, source in zip(branches, sources, strict=True)
            )
            half = slice(h * self.states // 2, (h + 1) * self.states // 2)
            steps.append((even, odd, totals[half].reshape(shape), took_odd[half].reshape(shape)))
        return steps

    def _trace_back(self, decisions: Bits, state: NDArray[np.intp]) -> Bits:
        """Follow the decisions from the last state of each lane back to the first."""
        length, _, width = decisions.shape
        byte, bit = np.divmod(np.arange(state.size), 8)
        shift = (7 - bit).astype(np.uint8)
        subsets = np.empty((length, state.size), np.uint8)
        for time in range(length - 1, -1, -1):
            odd = decisions[time].reshape(-1).take(state * width + byte) >> shift & 1
            branch = 2 * state + odd
            subsets[time] = self._subsets.take(branch)
            state = self._previous.take(branch)
        return subsets


def _reverse_axes(term: int, half: int) -> tuple[slice, ...]:
    """Return the index of an array with one axis per bit for the xor of its index with a term."""
    bits = range(half.bit_length() - 2, -1, -1)
    return tuple(slice(None, None, -1 if term >> bit & 1 else 1) for bit in bits)
