"""Scales of slices, and codebooks that are made with them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tests.helpers import decoded, measured_sqnr
from vggq._codecs._scales import widen_scales
from vggq.packing.codecs import codebook
from vggq.packing.codecs.scales import scale_slices

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST = float(np.finfo(np.float32).max)
LARGEST_SCALE = float(ml_dtypes.finfo(ml_dtypes.bfloat16).max)
weights = npst.arrays(
    np.float32,
    npst.array_shapes(min_dims=1, max_dims=4, max_side=6),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@given(values=weights, axis=st.integers(0, 3))
def test_scale_is_the_largest_value_of_its_slice_rounded_up(
    values: NDArray[np.float32], axis: int
) -> None:
    axis %= values.ndim
    scaled = scale_slices(values, axis)
    scales = widen_scales(np.frombuffer(scaled.stored, "<u2"))
    others = tuple(at for at in range(values.ndim) if at != axis)
    largest = np.abs(values).max(axis=others).astype(np.float64)
    assert scaled.slices.scales == values.shape[axis] == scales.size
    assert scaled.slices.run == math.prod(values.shape[axis + 1 :])
    # Seven bits after the first one; subnormal numbers are multiples of 2^-133.
    assert (scales <= largest * (1 + 2**-7) + 2.0**-133).all()
    assert (scales >= np.minimum(largest, LARGEST_SCALE)).all()
    assert ((scales == 0) == (largest == 0)).all()


@given(values=weights, axis=st.integers(0, 3))
def test_quotients_are_from_minus_1_to_1_and_times_the_scales_the_weights(
    values: NDArray[np.float32], axis: int
) -> None:
    axis %= values.ndim
    scaled = scale_slices(values, axis)
    assert scaled.values.shape == values.shape
    assert np.abs(scaled.values).max(initial=0) <= 1
    scales = widen_scales(np.frombuffer(scaled.stored, "<u2")).astype(np.float64)
    scales = scales.reshape([-1] + [1] * (values.ndim - axis - 1))
    exact = values.astype(np.float64)
    # A quotient is rounded to 24 bits, or to a multiple of 2^-149. Only values above the largest
    # scale are limited to it.
    rounding = np.where(np.abs(exact) > scales, 2.0**-8, 2.0**-24) * np.abs(exact)
    assert (np.abs(scaled.values * scales - exact) <= rounding + scales * 2.0**-150).all()


def test_slices_of_zeros_stay_zeros() -> None:
    values = normal(20, 60)
    values[[0, 7]] = 0
    values[3] = -0.0
    codec, content = codebook.encode(values, 3, 0)
    assert codec.slices is not None
    restored = decoded(codec, content, values.size).reshape(values.shape)
    assert not restored[[0, 3, 7]].any()


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("bits", [1, 3, 8])
def test_slices_of_different_spread_keep_their_precision(axis: int, bits: int) -> None:
    spread = np.exp2(np.arange(6) * 5 - 15).astype(np.float32)
    values = normal(6, 6, 6, 6) * spread.reshape([-1 if at == axis else 1 for at in range(4)])
    codec, content = codebook.encode(values, bits, axis)
    restored = decoded(codec, content, values.size).reshape(values.shape)
    slices = zip(np.moveaxis(values, axis, 0), np.moveaxis(restored, axis, 0), strict=True)
    assert min(measured_sqnr(*pair) for pair in slices) > 5 * bits - 3


def test_weights_with_few_values_are_exact_without_scales() -> None:
    values = np.random.default_rng(0).integers(-3, 4, (40, 30)).astype(np.float32) * 0.3
    codec, content = codebook.encode(values, 3, 0)
    assert codec.slices is None
    np.testing.assert_array_equal(decoded(codec, content, values.size), values.reshape(-1))


@pytest.mark.parametrize("factor", [2.0**-140, 2.0**-126, 1e-12, 1e12, LARGEST])
def test_weights_of_any_magnitude_can_have_scales(factor: float) -> None:
    values = np.random.default_rng(0).uniform(-1, 1, (40, 30)) * factor
    codec, content = codebook.encode(values.astype(np.float32), 8, 1)
    restored = decoded(codec, content, values.size).reshape(values.shape)
    assert np.isfinite(restored).all()
    assert measured_sqnr(values.astype(np.float32) / factor, restored / factor) > 35
