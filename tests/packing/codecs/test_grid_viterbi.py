"""The Viterbi search, compared with one in plain Python, and its bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vggq._codecs._scratch import Scratch
from vggq._codecs._trellis import POLYNOMIALS, resolve_levels
from vggq.packing.codecs.grid.viterbi import MAX_COST, Trellis

if TYPE_CHECKING:
    from numpy.typing import NDArray


def least_cost(costs: NDArray[Any], states: int) -> int:
    """Return the cost of the best path of one lane; costs are of shape (parity, h, levels)."""
    a, b = POLYNOMIALS[states]
    totals = {0: 0}
    for time in range(costs.shape[2]):
        following: dict[int, int] = {}
        for state, total in totals.items():
            h = state & 1
            for parity in (0, 1):
                after = (state ^ h * a ^ parity * b) >> 1
                cost = total + int(costs[parity, h, time])
                following[after] = min(cost, following.get(after, cost))
        totals = following
    return min(totals.values())


def cost_of_path(costs: NDArray[Any], subsets: NDArray[np.uint8], states: int) -> int:
    """Return the cost of a path, whose h the decoder has to confirm."""
    parities = subsets & 1
    # An odd level of 1 becomes 2 - h.
    levels = np.where(parities, 1, 2).astype(np.int64)[None]
    resolved = levels.copy()
    resolve_levels(resolved, states, Scratch())
    h = (2 * levels - resolved)[0]
    np.testing.assert_array_equal(subsets >> 1, h)
    return int(costs[parities, h, np.arange(len(h))].sum())


@settings(deadline=None)
@given(
    st.sampled_from(list(POLYNOMIALS)),
    st.integers(1, 60),
    st.integers(1, 4),
    st.sampled_from([1, 300, MAX_COST]),
    st.integers(0, 999),
)
def test_search_finds_a_path_with_the_least_cost(
    states: int, length: int, lanes: int, largest: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, largest + 1, (2, 2, length, lanes), np.uint16)
    subsets = Trellis(states).find_best_paths(costs)
    assert subsets.shape == (length, lanes)
    for lane in range(lanes):
        found = cost_of_path(costs[..., lane], subsets[:, lane], states)
        assert found == least_cost(costs[..., lane], states)


@pytest.mark.parametrize("states", POLYNOMIALS)
def test_totals_do_not_overflow(states: int) -> None:
    """Branches of the largest cost make the totals as different as they can be."""
    rng = np.random.default_rng(states)
    costs = (rng.integers(0, 2, (2, 2, 300, 4)) * MAX_COST).astype(np.uint16)
    costs[:, :, 100:200] = MAX_COST
    subsets = Trellis(states).find_best_paths(costs)
    for lane in range(4):
        found = cost_of_path(costs[..., lane], subsets[:, lane], states)
        assert found == least_cost(costs[..., lane], states)
