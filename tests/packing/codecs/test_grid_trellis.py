"""Dependent quantization against its definition, a loop, and against every path there is."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from vggq._codecs._trellis import LANE, resolve
from vggq.packing.codecs.grid import rounding, trellis
from vggq.packing.codecs.grid.rates import LARGEST, rates_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The transitions of the 4-state machine as published: of a state, after an even and an odd level.
NEXT = ((0, 2), (2, 0), (1, 3), (3, 1))


def in_a_loop(levels: list[int]) -> list[int]:
    """The multiples of the step, by the published machine, whose states 2 and 3 take the odd."""
    state, multiples = 0, []
    for place, level in enumerate(levels):
        state = 0 if place % LANE == 0 else state
        sign = (level > 0) - (level < 0)
        multiples.append(2 * level - (state >> 1) * sign)
        state = NEXT[state][level % 2]
    return multiples


def cost(
    values: NDArray[np.float32], levels: list[int], rates: list[float], weight: float
) -> float:
    multiples = in_a_loop(levels)
    errors = sum((float(v) - m) ** 2 for v, m in zip(values, multiples, strict=True))
    return errors + weight * sum(rates[abs(level)] for level in levels)


@given(
    npst.arrays(
        st.sampled_from([np.int16, np.int64]),
        npst.array_shapes(min_dims=2, max_dims=2, max_side=40),
        elements=st.integers(-(1 << 13), 1 << 13),
    )
)
def test_levels_are_resolved_as_by_a_loop(levels: NDArray[Any]) -> None:
    expected = [in_a_loop(band.tolist()) for band in levels]
    resolve(levels)
    assert levels.tolist() == expected


@pytest.mark.parametrize("count", [LANE - 1, LANE, LANE + 1, 3 * LANE, 3 * LANE + 7])
def test_the_dependency_begins_anew_with_each_lane(count: int) -> None:
    levels = np.random.default_rng(count).integers(-5, 6, (3, count)).astype(np.int16)
    expected = [in_a_loop(band.tolist()) for band in levels]
    resolve(levels)
    assert levels.tolist() == expected


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.35, 2.0])
@pytest.mark.parametrize("seed", range(6))
def test_no_sequence_of_levels_costs_less(seed: int, weight: float) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.laplace(size=5) * 2).astype(np.float32)
    rates = np.minimum(1 + 1.5 * np.arange(LARGEST + 1, dtype=np.float32), 30)
    levels = trellis.quantize(values[None], rates[None], weight)[0].tolist()
    reach = [range(int(-abs(v) / 2) - 2, int(abs(v) / 2) + 3) for v in values]
    least = min(
        cost(values, list(path), rates.tolist(), weight) for path in itertools.product(*reach)
    )
    assert cost(values, levels, rates.tolist(), weight) == pytest.approx(least, abs=1e-4)


def test_more_lanes_than_are_quantized_at_a_time() -> None:
    values = np.random.default_rng(1).standard_normal((2, 1100 * LANE + 5)).astype(np.float32) * 4
    rates = rates_of(np.rint(values / 2).astype(np.int32))
    whole = trellis.quantize(values, rates, 0.35)
    for begin in (0, 700 * LANE, 1099 * LANE):
        lane = values[:, begin : begin + LANE]
        np.testing.assert_array_equal(
            trellis.quantize(lane, rates, 0.35), whole[:, begin : begin + LANE]
        )


def test_dependent_levels_lose_less_than_independent_ones_of_as_many_bits() -> None:
    values = np.random.default_rng(2).standard_normal((1, 200_000)).astype(np.float32) * 8

    def bits_and_noise(step: float, *, dependent: bool) -> tuple[float, float]:
        scaled = values / np.float32(step)
        rates = rates_of(np.rint(scaled / (1 + dependent)).astype(np.int32))
        quantize = trellis.quantize if dependent else rounding.quantize
        levels = quantize(scaled, rates, 0.0)
        found = np.unique(levels, return_counts=True)[1] / levels.size
        bits = -float(found @ np.log2(found))
        if dependent:
            resolve(levels)
        return bits, float(np.square(scaled - levels).mean()) * step**2

    bits, noise = bits_and_noise(1.0, dependent=False)
    other_bits, other_noise = bits_and_noise(0.57, dependent=True)
    gain = 10 * np.log10(noise / other_noise) + 6.02 * (bits - other_bits)
    assert gain > 0.8


@pytest.mark.parametrize("weight", [0.0, 0.1, 1.0])
def test_independent_levels_are_the_cheaper_of_two(weight: float) -> None:
    values = np.random.default_rng(3).laplace(size=(2, 2000)).astype(np.float32) * 3
    rates = rates_of(np.rint(values).astype(np.int32))
    levels = rounding.quantize(values, rates, weight)
    for band, found, costs in zip(values, levels, rates, strict=True):
        for value, level in zip(band.tolist(), found.tolist(), strict=True):
            nearest = round(abs(value))
            choices = {nearest, max(nearest - 1, 0)}
            least = min((abs(value) - c) ** 2 + weight * float(costs[c]) for c in choices)
            taken = (value - level) ** 2 + weight * float(costs[abs(level)])
            assert taken == pytest.approx(least, rel=1e-4, abs=1e-5)


@given(npst.arrays(np.float32, (2, 300), elements=st.floats(-(2.0**22), 2.0**22, width=32)))
def test_levels_of_any_size_are_the_nearest_where_bits_cost_nothing(
    values: NDArray[np.float32],
) -> None:
    levels = rounding.quantize(values, np.zeros((2, LARGEST + 1), np.float32), 0.0)
    assert np.abs(values.astype(np.float64) - levels).max(initial=0) <= 0.5
    dependent = trellis.quantize(values, np.zeros((2, LARGEST + 1), np.float32), 0.0)
    resolve(dependent)
    # Of two interleaved quantizers the coarser's next multiple is two away at most.
    assert np.abs(values.astype(np.float64) - dependent).max(initial=0) <= 2
