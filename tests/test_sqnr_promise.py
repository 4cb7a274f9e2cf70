"""The promises of the three goals, measured on the source arrays and not read from the manifest."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vggq
from vggq.packing import pack

from .helpers import measured_sqnr, save_npz

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from vggq import Manifest, TensorInfo

    State = dict[str, NDArray[Any]]

SHAPES = [(40, 30), (1000, 1), (2, 500), (12, 10, 3, 3), (3, 3, 12, 10), (1200,), (5,), ()]
DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], NDArray[Any]]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "laplace": lambda rng, shape: rng.laplace(size=shape),
    "heavy-tailed": lambda rng, shape: rng.standard_t(1.5, shape),
    "far from zero": lambda rng, shape: 3 + rng.random(shape),
    "sparse": lambda rng, shape: rng.standard_normal(shape) * (rng.random(shape) < 0.1),
    "few values": lambda rng, shape: rng.integers(-3, 4, shape) * 0.3,
    "constant": lambda rng, shape: np.full(shape, rng.random()),
    "zero": lambda _, shape: np.zeros(shape),
}
# A manifest records energy and noise with nine significant digits.
RECORDED = 5.1e-9
RECORDED_DB = 10 * math.log10((1 + RECORDED) / (1 - RECORDED))

promise = settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def tensors(draw: st.DrawFn) -> NDArray[Any]:
    """Draw a tensor of any distribution and magnitude, large enough to be quantized or not."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 16)))
    make = DISTRIBUTIONS[draw(st.sampled_from(sorted(DISTRIBUTIONS)))]
    values = np.asarray(make(rng, draw(st.sampled_from(SHAPES))))
    dtype = draw(st.sampled_from(["f2", "f4", "f8"]))
    exponent = draw(st.integers(-2, 1) if dtype == "f2" else st.integers(-12, 12))
    limit = float(np.finfo(dtype).max) / 2
    return (values * 10.0**exponent).clip(-limit, limit).astype(dtype)


scales = st.sampled_from(["none", "channels", "rows", "columns", -1])
states = st.dictionaries(st.sampled_from("abc"), tensors(), min_size=1, max_size=2)


def pack_and_load(state: State, **options: Any) -> tuple[Manifest, int, State]:
    """Return the manifest, the size of the file, and the restored arrays."""
    with tempfile.TemporaryDirectory() as folder:
        source = save_npz(Path(folder, "s.npz"), state)
        target = Path(folder, "s.vggq")
        manifest = pack(source, target, **options).manifest
        return manifest, target.stat().st_size, vggq.load(target)


def as_float32(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the values in the precision in which every floating-point tensor is quantized."""
    return values.astype(np.float32).astype(np.float64)


def energy_and_noise(values: NDArray[Any], restored: NDArray[Any]) -> tuple[float, float]:
    exact = as_float32(values)
    return float((exact**2).sum()), float(((exact - restored) ** 2).sum())


def quantized(manifest: Manifest) -> list[TensorInfo]:
    return [tensor for tensor in manifest.tensors if tensor.quantized]


def assert_figures_are_true(manifest: Manifest, state: State, restored: State) -> None:
    """Compare the manifest's figures of every tensor, and the overall SQNR, with measurements."""
    total_energy = total_noise = 0.0
    for tensor in manifest.tensors:
        energy, noise = energy_and_noise(state[tensor.name], restored[tensor.name])
        if not tensor.quantized:
            assert noise == tensor.noise == tensor.energy == 0
            continue
        assert tensor.energy == pytest.approx(energy, rel=RECORDED, abs=0)
        assert tensor.noise == pytest.approx(noise, rel=RECORDED, abs=0)
        measured = measured_sqnr(as_float32(state[tensor.name]), restored[tensor.name])
        assert tensor.sqnr == pytest.approx(measured, rel=0, abs=RECORDED_DB)
        total_energy += energy
        total_noise += noise
    overall = 10 * math.log10(total_energy / total_noise) if total_noise else math.inf
    assert manifest.sqnr == pytest.approx(overall, rel=0, abs=RECORDED_DB)


@promise
@given(state=states, sqnr=st.floats(1, 100), dependent=st.booleans(), scale=scales)
def test_sqnr_goal_is_reached_by_every_quantized_tensor(
    state: State, sqnr: float, scale: str | int, *, dependent: bool
) -> None:
    manifest, _, restored = pack_and_load(state, sqnr=sqnr, dependent=dependent, scale=scale)
    for tensor in quantized(manifest):
        assert measured_sqnr(as_float32(state[tensor.name]), restored[tensor.name]) >= sqnr
    assert_figures_are_true(manifest, state, restored)


@settings(promise, max_examples=10)
@given(state=states, excess=st.integers(1, 8_000), dependent=st.booleans(), scale=scales)
def test_size_goal_is_not_exceeded(
    state: State, excess: int, scale: str | int, *, dependent: bool
) -> None:
    """The size is a little more than that of a file with 3 dB, so that it is possible."""
    _, smallest, _ = pack_and_load(state, sqnr=3, scale=scale)
    limit = smallest + 64 + excess
    options = {"size": limit, "dependent": dependent, "scale": scale}
    manifest, size, restored = pack_and_load(state, **options)
    assert size <= limit
    assert_figures_are_true(manifest, state, restored)


def uniform_noise(values: NDArray[np.float64], levels: int) -> float:
    """Return the noise of a quantizer with cells of equal width over the range of the values."""
    lowest = values.min()
    width = (values.max() - lowest) / levels or 1.0
    index = np.floor((values - lowest) / width).clip(0, levels - 1)
    return float(((values - (lowest + (index + 0.5) * width)) ** 2).sum())


@settings(promise, max_examples=60)
@given(state=states, bits=st.integers(1, 8), scale=st.sampled_from(["rows", "columns", -1]))
def test_bits_goal_with_scales_is_no_worse_than_a_uniform_quantizer_of_the_quotients(
    state: State, bits: int, scale: str | int
) -> None:
    """Compare the noise of the weights divided by their scales with that of 2^bits equal cells.

    The quotients are from -1 to 1, and rounding a product to float32 changes them by at most 2^-24.
    Weights that have at most 2^bits values are exact.
    """
    manifest, _, restored = pack_and_load(state, bits=bits, scale=scale)
    for tensor in quantized(manifest):
        values, found = as_float32(state[tensor.name]), restored[tensor.name]
        if np.unique(values).size <= 2**bits:
            np.testing.assert_array_equal(found, values)
            continue
        axis = {"rows": 0, "columns": 1}.get(str(scale), values.ndim - 1)
        slices = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        restored_slices = np.moveaxis(found, axis, 0).reshape(slices.shape)
        assert all(np.unique(part).size <= 2**bits for part in restored_slices)
        if values.shape[axis] > 1:
            scales = rounded_up(np.abs(slices).max(axis=1, keepdims=True))
        else:
            scales = np.ones((1, 1))
        quotients = np.divide(slices, scales, out=np.zeros_like(slices), where=scales > 0)
        found_quotients = np.divide(
            restored_slices, scales, out=np.zeros_like(slices), where=scales > 0
        )
        noise = float(np.square(quotients - found_quotients).sum())
        rounding = values.size * (np.abs(quotients).max() * 3 * 2.0**-24) ** 2
        assert noise**0.5 <= uniform_noise(quotients, 2**bits) ** 0.5 + rounding**0.5
    assert_figures_are_true(manifest, state, restored)


def rounded_up(scales: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the smallest numbers of 8 significant bits that are no less than the scales."""
    mantissas, exponents = np.frexp(scales)
    rounded: NDArray[np.float64] = np.ldexp(np.ceil(mantissas * 256) / 256, exponents)
    return rounded


@settings(promise, max_examples=100)
@given(state=states, bits=st.integers(1, 8))
def test_bits_goal_is_no_worse_than_a_uniform_quantizer(state: State, bits: int) -> None:
    """Compare the noise with that of the centers of 2^bits cells of equal width.

    The codebook is the optimal set of 2^bits values, so it is no worse than the centers of the
    cells. Its centroids are rounded to float32, by at most 2^-24 of the largest weight. As a
    centroid is the mean of its weights, rounding it by d adds d² to the squared error of each, and
    choosing the nearest rounded centroid for each weight can only reduce the noise.
    """
    manifest, _, restored = pack_and_load(state, bits=bits)
    for tensor in quantized(manifest):
        values, found = as_float32(state[tensor.name]), restored[tensor.name]
        assert np.unique(found).size <= 2**bits
        _, noise = energy_and_noise(values, found)
        rounding = values.size * (np.abs(values).max() * 2.0**-24) ** 2
        assert noise <= (1 + 1e-9) * uniform_noise(values, 2**bits) + rounding
    assert_figures_are_true(manifest, state, restored)
