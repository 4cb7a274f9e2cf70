"""Dependent quantization, compared with a loop over the states and with an exhaustive search."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from vggq._codecs import _scratch
from vggq._codecs._scratch import Scratch, release_scratch
from vggq._codecs._trellis import LANE_SIZE, POLYNOMIALS, STATES, resolve_levels
from vggq.packing.codecs.grid import rounding, trellis
from vggq.packing.codecs.grid.encoder import GridEncoder
from vggq.packing.codecs.grid.rates import MAX_RATED_LEVEL, estimate_rates
from vggq.packing.goals import Effort

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Transitions of the published 4-state machine: the next state after an even and an odd level.
NEXT_STATES = ((0, 2), (2, 0), (1, 3), (3, 1))
# The distances of the bits h and of the parities whose exclusive or is h, as in docs/format.md.
DISTANCES = {
    4: ([2], [1]),
    8: ([1, 3], [2]),
    16: ([1, 4], [2]),
    32: ([2, 5], [3]),
    64: ([1, 6], [2, 4]),
    128: ([2, 3, 4, 7], [1, 2, 4, 6]),
    256: ([2, 3, 6, 8], [1, 4, 5, 6, 7]),
}


def resolve_with_published_machine(levels: list[int]) -> list[int]:
    """Return multiples of the step size, as the published machine of 4 states defines them.

    States 2 and 3 use the quantizer of odd multiples.
    """
    state, multiples = 0, []
    for position, level in enumerate(levels):
        state = 0 if position % LANE_SIZE == 0 else state
        sign = (level > 0) - (level < 0)
        multiples.append(2 * level - (state >> 1) * sign)
        state = NEXT_STATES[state][level % 2]
    return multiples


def resolve_in_a_loop(levels: list[int], states: int) -> list[int]:
    """Return multiples of the step size by the parity check of docs/format.md."""
    multiples = []
    for begin in range(0, len(levels), LANE_SIZE):
        lane = levels[begin : begin + LANE_SIZE]
        bits: list[int] = []
        for at, level in enumerate(lane):
            earlier = [bits[at - k] for k in DISTANCES[states][0] if k <= at]
            earlier += [lane[at - k] % 2 for k in DISTANCES[states][1] if k <= at]
            bits.append(sum(earlier) % 2)
            multiples.append(2 * level - bits[at] * ((level > 0) - (level < 0)))
    return multiples


def cost(
    values: NDArray[np.float32],
    levels: list[int],
    rates: list[float],
    multiplier: float,
    states: int,
) -> float:
    multiples = resolve_in_a_loop(levels, states)
    errors = sum((float(v) - m) ** 2 for v, m in zip(values, multiples, strict=True))
    return errors + multiplier * sum(rates[abs(level)] for level in levels)


def test_document_has_the_polynomials() -> None:
    document = Path(__file__).resolve().parents[3].joinpath("docs", "format.md").read_text("utf-8")
    for states, (a, b) in POLYNOMIALS.items():
        lists = (", ".join(map(str, distances)) for distances in DISTANCES[states])
        assert f"| {states} | {' | '.join(lists)} | {a:o}, {b:o} |" in document
    assert set(DISTANCES) == set(POLYNOMIALS) == set(STATES) - {1}


@settings(deadline=None)
@given(
    npst.arrays(
        st.sampled_from([np.int16, np.int64]),
        npst.array_shapes(min_dims=2, max_dims=2, max_side=150),
        elements=st.integers(-(1 << 13), 1 << 13),
    ),
    st.sampled_from(list(POLYNOMIALS)),
)
def test_resolve_equals_a_loop_over_the_levels(levels: NDArray[Any], states: int) -> None:
    expected = [resolve_in_a_loop(band.tolist(), states) for band in levels]
    resolve_levels(levels, states, Scratch())
    assert levels.tolist() == expected


@pytest.mark.parametrize("states", POLYNOMIALS)
@pytest.mark.parametrize(
    "count", [LANE_SIZE - 1, LANE_SIZE, LANE_SIZE + 1, 3 * LANE_SIZE, 3 * LANE_SIZE + 7]
)
def test_resolve_starts_again_at_each_lane(count: int, states: int) -> None:
    levels = np.random.default_rng(count).integers(-5, 6, (3, count)).astype(np.int16)
    expected = [resolve_in_a_loop(band.tolist(), states) for band in levels]
    resolve_levels(levels, states, Scratch())
    assert levels.tolist() == expected


def test_four_states_are_the_published_machine() -> None:
    levels = np.random.default_rng(0).integers(-5, 6, (3, 1200))
    expected = [resolve_with_published_machine(band.tolist()) for band in levels]
    resolve_levels(levels, 4, Scratch())
    assert levels.tolist() == expected


@pytest.mark.parametrize("states", POLYNOMIALS)
@pytest.mark.parametrize("multiplier", [0.0, 0.1, 0.35, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_trellis_finds_the_sequence_with_the_least_cost(
    seed: int, multiplier: float, states: int
) -> None:
    """The costs are looked up for the middles of 1/64 step, as integers in 1/320 squared step."""
    rng = np.random.default_rng(seed)
    values = ((np.floor(rng.laplace(size=5) * 2 * 64) + 0.5) / 64).astype(np.float32)
    rates = np.minimum(1 + 1.5 * np.arange(MAX_RATED_LEVEL + 1, dtype=np.float32), 30)
    levels = trellis.quantize(values[None], rates[None], multiplier, states)[0].tolist()
    reach = [range(int(-abs(v) / 2) - 2, int(abs(v) / 2) + 3) for v in values]
    minimum = min(
        cost(values, list(path), rates.tolist(), multiplier, states)
        for path in itertools.product(*reach)
    )
    found = cost(values, levels, rates.tolist(), multiplier, states)
    assert minimum - 1e-4 <= found <= minimum + len(values) / 320


def test_lanes_in_several_chunks_are_quantized_like_single_lanes() -> None:
    values = (
        np.random.default_rng(1).standard_normal((2, 1100 * LANE_SIZE + 5)).astype(np.float32) * 4
    )
    rates = estimate_rates(np.rint(values / 2).astype(np.int32))
    whole = trellis.quantize(values, rates, 0.35, 16)
    for begin in (0, 700 * LANE_SIZE, 1099 * LANE_SIZE):
        lane = values[:, begin : begin + LANE_SIZE]
        np.testing.assert_array_equal(
            trellis.quantize(lane, rates, 0.35, 16), whole[:, begin : begin + LANE_SIZE]
        )


@pytest.mark.parametrize(
    ("states", "gain"),
    [(4, 0.8), (8, 0.9), (16, 0.98), (32, 1.05), (64, 1.1), (128, 1.14), (256, 1.18)],
)
def test_dependent_levels_gain_decibels_over_independent_levels_at_equal_entropy(
    states: int, gain: float
) -> None:
    values = np.random.default_rng(2).standard_normal((1, 200_000)).astype(np.float32) * 8

    def bits_and_noise(step: float, states: int) -> tuple[float, float]:
        scaled = values / np.float32(step)
        if states > 1:
            rates = estimate_rates(np.rint(scaled / 2).astype(np.int32))
            levels = trellis.quantize(scaled, rates, 0.0, states)
        else:
            levels = rounding.quantize(scaled, estimate_rates(np.rint(scaled).astype("i4")), 0.0)
        found = np.unique(levels, return_counts=True)[1] / levels.size
        bits = -float(found @ np.log2(found))
        if states > 1:
            resolve_levels(levels, states, Scratch())
        return bits, float(np.square(scaled - levels).mean()) * step**2

    bits, noise = bits_and_noise(1.0, 1)
    other_bits, other_noise = bits_and_noise(0.57, states)
    assert 10 * np.log10(noise / other_noise) + 6.02 * (bits - other_bits) > gain


@settings(deadline=None)
@given(
    st.sampled_from(list(POLYNOMIALS)),
    st.sampled_from([0, 1, 2, 7, LANE_SIZE - 1, LANE_SIZE, LANE_SIZE + 1, 2 * LANE_SIZE + 9]),
    st.integers(1, 3),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_decoded_levels_have_the_error_that_the_encoder_expects(
    states: int, count: int, bands: int, multiplier: float, seed: int
) -> None:
    """The cost of the decoder's multiples is at most that of levels with even parity, h = 0."""
    rng = np.random.default_rng(seed)
    values = rng.laplace(size=(bands, count)) * rng.choice([0.2, 3, 100], (bands, 1))
    values = values.astype(np.float32)
    rates = estimate_rates(np.rint(values / 2).astype(np.int32))
    levels = trellis.quantize(values, rates, multiplier, states)
    assert levels.shape == (bands, count)
    even = 2 * np.rint(values / 4).astype(np.int32)

    def costs(levels: NDArray[np.int32], multiples: NDArray[np.int32]) -> NDArray[np.float64]:
        bits = np.take_along_axis(rates, np.minimum(np.abs(levels), MAX_RATED_LEVEL), axis=1)
        errors = np.square(values.astype(np.float64) - multiples)
        return np.asarray((errors + multiplier * bits).sum(axis=1), np.float64)

    multiples = levels.copy()
    resolve_levels(multiples, states, Scratch())
    # Magnitudes are rounded by up to 1/128 step, which changes a squared error by up to 1/32.
    assert (costs(levels, multiples) <= costs(even, 2 * even) + count / 32).all()


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
    dependent = trellis.quantize(values, np.zeros((2, MAX_RATED_LEVEL + 1), np.float32), 0.0, 8)
    resolve_levels(dependent, 8, Scratch())
    # The multiples of one subset of levels are four apart, so the nearest is at most two away.
    assert np.abs(values.astype(np.float64) - dependent).max(initial=0) <= 2


def test_estimating_noise_keeps_no_memory() -> None:
    values = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    encoder = GridEncoder.from_values(values, Effort(8))
    release_scratch()
    assert encoder.estimate_noise(0.1) > 0
    assert "scratch" not in _scratch._local.__dict__
