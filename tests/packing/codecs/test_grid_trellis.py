"""Dependent quantization, compared with a loop over the states and with an exhaustive search."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from vggq._codecs._trellis import LANE_SIZE, resolve_levels
from vggq.packing.codecs.grid import rounding, trellis
from vggq.packing.codecs.grid.rates import MAX_RATED_LEVEL, estimate_rates

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Transitions of the published 4-state machine: the next state after an even and an odd level.
NEXT_STATES = ((0, 2), (2, 0), (1, 3), (3, 1))


def resolve_in_a_loop(levels: list[int]) -> list[int]:
    """Return multiples of the step size, as the published state machine defines them.

    States 2 and 3 use the quantizer of odd multiples.
    """
    state, multiples = 0, []
    for position, level in enumerate(levels):
        state = 0 if position % LANE_SIZE == 0 else state
        sign = (level > 0) - (level < 0)
        multiples.append(2 * level - (state >> 1) * sign)
        state = NEXT_STATES[state][level % 2]
    return multiples


def cost(
    values: NDArray[np.float32], levels: list[int], rates: list[float], multiplier: float
) -> float:
    multiples = resolve_in_a_loop(levels)
    errors = sum((float(v) - m) ** 2 for v, m in zip(values, multiples, strict=True))
    return errors + multiplier * sum(rates[abs(level)] for level in levels)


@given(
    npst.arrays(
        st.sampled_from([np.int16, np.int64]),
        npst.array_shapes(min_dims=2, max_dims=2, max_side=40),
        elements=st.integers(-(1 << 13), 1 << 13),
    )
)
def test_resolve_equals_a_loop_over_the_states(levels: NDArray[Any]) -> None:
    expected = [resolve_in_a_loop(band.tolist()) for band in levels]
    resolve_levels(levels)
    assert levels.tolist() == expected


@pytest.mark.parametrize(
    "count", [LANE_SIZE - 1, LANE_SIZE, LANE_SIZE + 1, 3 * LANE_SIZE, 3 * LANE_SIZE + 7]
)
def test_resolve_resets_the_state_at_each_lane(count: int) -> None:
    levels = np.random.default_rng(count).integers(-5, 6, (3, count)).astype(np.int16)
    expected = [resolve_in_a_loop(band.tolist()) for band in levels]
    resolve_levels(levels)
    assert levels.tolist() == expected


@pytest.mark.parametrize("multiplier", [0.0, 0.1, 0.35, 2.0])
@pytest.mark.parametrize("seed", range(6))
def test_trellis_finds_the_sequence_with_the_least_cost(seed: int, multiplier: float) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.laplace(size=5) * 2).astype(np.float32)
    rates = np.minimum(1 + 1.5 * np.arange(MAX_RATED_LEVEL + 1, dtype=np.float32), 30)
    levels = trellis.quantize(values[None], rates[None], multiplier)[0].tolist()
    reach = [range(int(-abs(v) / 2) - 2, int(abs(v) / 2) + 3) for v in values]
    minimum = min(
        cost(values, list(path), rates.tolist(), multiplier) for path in itertools.product(*reach)
    )
    assert cost(values, levels, rates.tolist(), multiplier) == pytest.approx(minimum, abs=1e-4)


def test_lanes_in_several_chunks_are_quantized_like_single_lanes() -> None:
    values = (
        np.random.default_rng(1).standard_normal((2, 1100 * LANE_SIZE + 5)).astype(np.float32) * 4
    )
    rates = estimate_rates(np.rint(values / 2).astype(np.int32))
    whole = trellis.quantize(values, rates, 0.35)
    for begin in (0, 700 * LANE_SIZE, 1099 * LANE_SIZE):
        lane = values[:, begin : begin + LANE_SIZE]
        np.testing.assert_array_equal(
            trellis.quantize(lane, rates, 0.35), whole[:, begin : begin + LANE_SIZE]
        )


def test_dependent_levels_gain_0_8_decibels_over_independent_levels_at_equal_entropy() -> None:
    values = np.random.default_rng(2).standard_normal((1, 200_000)).astype(np.float32) * 8

    def bits_and_noise(step: float, *, dependent: bool) -> tuple[float, float]:
        scaled = values / np.float32(step)
        rates = estimate_rates(np.rint(scaled / (1 + dependent)).astype(np.int32))
        quantize = trellis.quantize if dependent else rounding.quantize
        levels = quantize(scaled, rates, 0.0)
        found = np.unique(levels, return_counts=True)[1] / levels.size
        bits = -float(found @ np.log2(found))
        if dependent:
            resolve_levels(levels)
        return bits, float(np.square(scaled - levels).mean()) * step**2

    bits, noise = bits_and_noise(1.0, dependent=False)
    other_bits, other_noise = bits_and_noise(0.57, dependent=True)
    gain = 10 * np.log10(noise / other_noise) + 6.02 * (bits - other_bits)
    assert gain > 0.8


@pytest.mark.parametrize("multiplier", [0.0, 0.1, 1.0])
def test_rounding_takes_the_cheaper_of_two_levels(multiplier: float) -> None:
    values = np.random.default_rng(3).laplace(size=(2, 2000)).astype(np.float32) * 3
    rates = estimate_rates(np.rint(values).astype(np.int32))
    levels = rounding.quantize(values, rates, multiplier)
    for band, found, costs in zip(values, levels, rates, strict=True):
        for value, level in zip(band.tolist(), found.tolist(), strict=True):
            nearest = round(abs(value))
            choices = {nearest, max(nearest - 1, 0)}
            minimum = min((abs(value) - c) ** 2 + multiplier * float(costs[c]) for c in choices)
            taken = (value - level) ** 2 + multiplier * float(costs[abs(level)])
            assert taken == pytest.approx(minimum, rel=1e-4, abs=1e-5)


@given(npst.arrays(np.float32, (2, 300), elements=st.floats(-(2.0**22), 2.0**22, width=32)))
def test_levels_of_any_size_are_the_nearest_if_bits_cost_nothing(
    values: NDArray[np.float32],
) -> None:
    levels = rounding.quantize(values, np.zeros((2, MAX_RATED_LEVEL + 1), np.float32), 0.0)
    assert np.abs(values.astype(np.float64) - levels).max(initial=0) <= 0.5
    dependent = trellis.quantize(values, np.zeros((2, MAX_RATED_LEVEL + 1), np.float32), 0.0)
    resolve_levels(dependent)
    # The multiples of one subset of levels are four apart, so the nearest is at most two away.
    assert np.abs(values.astype(np.float64) - dependent).max(initial=0) <= 2
