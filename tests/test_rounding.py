"""Rounding to narrower dtypes, by every codec: to nearest, and saturating."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import vggq
from vggq import _dtypes, _rounding
from vggq._codecs import Codebook, Codec, Grid, Raw
from vggq._codecs._streams import Plain
from vggq.packing import compare, pack, verify_against
from vggq.packing.codecs.grid import streams

from .helpers import assert_same_arrays, saturated, save_npz, save_safetensors

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SOURCES = {
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F16": np.dtype(np.float16),
    "F32": np.dtype(np.float32),
}
TARGETS = [*SOURCES.values(), np.dtype(np.float64)]
NARROW = [dtype for dtype in TARGETS if dtype != np.float64]


def decoded_as(codec: Codec, content: bytes, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    out = np.empty(count, dtype)
    codec.validate(content, count)
    codec.decode_into(content, out)
    return out


def assert_same_values(found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Assert equal dtypes, values and signs; NaN may have any bits."""
    assert found.dtype == expected.dtype
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(found.astype(np.float64), expected.astype(np.float64))
    is_nan = np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found)[~is_nan], np.signbit(expected)[~is_nan])


def every_pattern(name: str) -> NDArray[Any]:
    """Return every value of a dtype of up to 16 bits, or a sample of those of float32."""
    if name == "F32":
        bits = np.random.default_rng(0).integers(0, 1 << 32, 1 << 18, np.uint32)
        # The values next to the limits and half-way between values of the other dtypes.
        limits = [np.float32(_rounding.MAX_FINITE[dtype.name]) for dtype in NARROW]
        offsets = np.arange(-(1 << 17), 1 << 17, 333)
        near = np.array(limits).view("u4").astype("i8")[:, None] + offsets
        return np.concatenate([bits, near.reshape(-1)]).astype("<u4").view("<f4")
    storage = _dtypes.STORAGE[name]
    count = 1 << 8 * storage.itemsize
    return np.arange(count, dtype=f"<u{storage.itemsize}").view(SOURCES[name])


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("source", SOURCES)
def test_raw_values_of_every_dtype_saturate(source: str, target: np.dtype[Any]) -> None:
    values = every_pattern(source)
    found = decoded_as(Raw(source), values.tobytes(), values.size, target)
    if SOURCES[source] == target:
        assert found.tobytes() == values.tobytes()
    else:
        assert_same_values(found, saturated(values, target))


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_centroids_of_every_value_saturate(target: np.dtype[Any]) -> None:
    values = every_pattern("F32")
    values = np.concatenate([values, every_pattern("F16").astype("<f4")])
    codes = np.arange(256, dtype=np.uint8).tobytes()
    for begin in range(0, values.size - 255, 256):
        centroids = values[begin : begin + 256]
        found = decoded_as(Codebook(256), centroids.tobytes() + codes, 256, target)
        if target == np.float32:
            assert found.tobytes() == centroids.tobytes()
        else:
            assert_same_values(found, saturated(centroids, target))


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("exponent", range(-20, 129, 4))
def test_grid_of_any_magnitude_saturates(target: np.dtype[Any], exponent: int) -> None:
    levels = np.concatenate([np.arange(-300, 300), 1 << np.arange(24), -(1 << np.arange(24))])
    step = np.float32(2.0**exponent * 0.999) if exponent < 128 else np.finfo(np.float32).max
    band = streams.serialize_bands([streams.encode_levels(Plain(0), 127, levels.astype("i4"))])
    content = b"".join([np.float32(step).tobytes(), *band])
    found = decoded_as(Grid(1, False, 1, False, len(content)), content, levels.size, target)
    single = saturated(levels * np.float64(step), np.dtype(np.float32))
    assert np.isfinite(single).all()
    assert_same_values(found, saturated(single, target))


def test_float64_saturates_in_every_dtype() -> None:
    values = np.array([1e300, -1e300, np.finfo("f8").max, np.inf, -np.inf, np.nan, 1e-300, -0.0])
    for target in NARROW:
        found = decoded_as(Raw("F64"), values.tobytes(), values.size, target)
        limit = float(ml_dtypes.finfo(target).max)
        infinite = limit if target.name == "float8_e4m3fn" else np.inf
        expected = [limit, -limit, limit, infinite, -infinite, np.nan, 0.0, -0.0]
        assert_same_values(found, np.array(expected).astype(target))


@cache
def finite_values(target: np.dtype[Any]) -> NDArray[Any]:
    bits = np.arange(1 << 8 * target.itemsize).astype(f"u{target.itemsize}")
    with np.errstate(invalid="ignore"):
        values = bits.view(target).astype(np.float64)
        return np.unique(values[np.isfinite(values)])


def nearest(value: float, target: np.dtype[Any]) -> float:
    """Return the nearest finite value of a dtype of up to 16 bits, with exact arithmetic."""
    finite = finite_values(target)
    at = int(np.searchsorted(finite, value).clip(1, finite.size - 1))
    below, above = float(finite[at - 1]), float(finite[at])
    lower, upper = Fraction(value) - Fraction(below), Fraction(above) - Fraction(value)
    if lower == upper:
        bits = int(np.array(below, target).view(f"u{target.itemsize}"))
        return above if bits & 1 else below
    return below if lower < upper else above


@given(
    st.integers(-40, 40),
    st.integers(0, 2047),
    st.sampled_from([0, 2.0**-30, -(2.0**-30), 2.0**-48, -(2.0**-48)]),
    st.sampled_from([1, -1]),
)
@example(0, 1, 2.0**-48, 1)
@example(10, 2047, -(2.0**-30), -1)
def test_float64_is_rounded_to_nearest_once(
    exponent: int, half_steps: int, excess: float, sign: int
) -> None:
    """Values next to the middle of two neighbours would be wrong if rounded by way of float32."""
    for target in (np.dtype(ml_dtypes.bfloat16), np.dtype(ml_dtypes.float8_e5m2)):
        bits = {"bfloat16": 8, "float8_e5m2": 3}[target.name]
        value = sign * (1 + half_steps % (1 << bits) / (1 << bits) + excess) * 2.0**exponent
        found = decoded_as(Raw("F64"), np.array([value]).tobytes(), 1, target)
        assert float(found[0]) == nearest(value, target)


@pytest.mark.parametrize("scale", [2**-133, 2**-149, 2**-160])
def test_float64_is_rounded_to_subnormal_bfloat16_once(scale: float) -> None:
    values = np.concatenate([np.arange(-20, 20) / 4, np.arange(-20, 20) / 4 + 2.0**-45]) * scale
    found = decoded_as(Raw("F64"), values.tobytes(), values.size, np.dtype(ml_dtypes.bfloat16))
    step = 2.0**-133
    # Python rounds quotients to even as well.
    expected = [round(Fraction(float(v)) / Fraction(step)) * step for v in values]
    np.testing.assert_array_equal(found.astype(np.float64), expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(values))


# Packed files


def mask() -> NDArray[Any]:
    """Return the additive mask of a causal attention, which most models store in float16."""
    return np.where(np.tri(64, dtype=bool), 0, -65504).astype(np.float16)


@pytest.mark.parametrize(
    "options",
    [{"sqnr": 41}, {"sqnr": 41, "dependent": False}, {"bits": 1}, {"keep": ["*"]}],
    ids=str,
)
def test_float16_mask_stays_finite(tmp_path: Path, options: dict[str, Any]) -> None:
    target = pack(
        save_npz(tmp_path / "s.npz", {"m": mask()}), tmp_path / "s.vggq", **options
    ).target
    found = vggq.load(target, dtype="source")["m"]
    assert found.dtype == np.float16
    assert found.min() >= -65504
    np.testing.assert_allclose(found.astype("f4"), mask().astype("f4"), rtol=0.03, atol=2000)
    out = {"m": np.ones((64, 64), np.float16)}
    vggq.load(target, dtype=np.float16, out=out)
    assert out["m"].tobytes() == found.tobytes()
    strided = {"m": np.ones((64, 128), np.float16)[:, ::2]}
    vggq.load(target, dtype=np.float16, out=strided)
    np.testing.assert_array_equal(strided["m"], found)


@pytest.mark.parametrize("options", [{"sqnr": 20}, {"bits": 2}, {"keep": ["*"]}], ids=str)
@pytest.mark.parametrize(
    ("source", "scale"), [("BF16", 3.389e38), ("F8_E4M3", 448.0), ("F8_E5M2", 57344.0)]
)
def test_extreme_weights_of_other_dtypes_stay_finite(
    tmp_path: Path, source: str, scale: float, options: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    values = (rng.uniform(0.9, 1, (40, 40)) * rng.choice([-scale, scale], (40, 40))).astype("f4")
    bits = saturated(values, SOURCES[source]).view(_dtypes.STORAGE[source])
    path = save_safetensors(tmp_path / "s.safetensors", {"w": (source, bits)})
    target = pack(path, tmp_path / "s.vggq", **options).target
    found = vggq.load(target, dtype="source")["w"]
    assert found.dtype == SOURCES[source]
    assert np.isfinite(found.astype("f4")).all()
    expected = {"w": saturated(vggq.load(target)["w"], SOURCES[source])}
    assert_same_arrays({"w": found}, expected)
    if scale > 65504:
        assert np.isfinite(vggq.load(target, dtype=np.float16)["w"]).all()


def test_float64_beyond_float32_is_stored_exactly_and_saturates(tmp_path: Path) -> None:
    """Codebooks and grids have the range of float32, so the tensor is not quantized."""
    values = np.ones((40, 40))
    values[0, :3] = 1e300, -1e300, np.inf
    source = save_npz(tmp_path / "s.npz", {"w": values})
    packed = pack(source, tmp_path / "s.vggq")
    with vggq.open(packed.target) as weights:
        verify_against(weights, source)
    (comparison,) = compare(packed.target, source)
    assert comparison.same
    assert not packed.manifest.tensors[0].quantized
    largest = np.finfo(np.float32).max
    assert vggq.load(packed.target)["w"][0, :4].tolist() == [largest, -largest, np.inf, 1]
    np.testing.assert_array_equal(vggq.load(packed.target, dtype="float64")["w"], values)
    half = vggq.load(packed.target, dtype="float16")["w"]
    assert half[0, :4].tolist() == [65504, -65504, np.inf, 1]


def test_single_bfloat16_is_widened() -> None:
    widened = _dtypes.convert(np.array(0x3F80, np.uint16), "BF16")
    assert_same_arrays({"x": widened}, {"x": np.array(1, np.float32)})
