"""Rounding to the bits of dtypes narrower than float32, compared with ml_dtypes and numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import ml_dtypes
import numpy as np
import pytest

from vggq._dtypes import NARROW, STORAGE, convert
from vggq._narrow_floats import round_in_place, round_to_bits

from .helpers import saturated

if TYPE_CHECKING:
    from numpy.typing import NDArray

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
}
NAN_BITS: Final = {"F16": 0x7E00, "BF16": 0x7FC0, "F8_E4M3": 0x7F, "F8_E5M2": 0x7E}


def interesting(dtype: np.dtype[Any]) -> NDArray[np.float32]:
    """Return all values of a dtype, the middles between them, their neighbours, and random bits."""
    bits = np.arange(1 << 8 * dtype.itemsize).astype(f"u{dtype.itemsize}")
    values = bits.view(dtype).astype(np.float32)
    exact = np.sort(values[np.isfinite(values)]).astype(np.float64)
    middles = ((exact[1:] + exact[:-1]) / 2).astype(np.float32)
    infinity = np.float32(np.inf)
    above, below = np.nextafter(middles, infinity), np.nextafter(middles, -infinity)
    random = np.random.default_rng(0).integers(0, 1 << 32, 300_000, np.uint32).view(np.float32)
    extreme = np.array([np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, -1e-45, 0, -0.0], np.float32)
    found: NDArray[np.float32]
    found = np.concatenate([values, middles, above, below, random, extreme])
    return found[~np.isnan(found)]


def bits_of(values: NDArray[np.float32], name: str) -> NDArray[Any]:
    out = np.empty(values.size, f"<u{STORAGE[name].itemsize}")
    round_to_bits(values, name, out)
    return out


def test_every_narrow_dtype_is_tested() -> None:
    assert set(DTYPES) == set(NAN_BITS) == NARROW


@pytest.mark.parametrize("name", DTYPES)
def test_bits_are_those_of_the_nearest_value(name: str) -> None:
    values = interesting(DTYPES[name])
    expected = saturated(values, DTYPES[name])
    found = bits_of(values, name)
    np.testing.assert_array_equal(found, expected.view(found.dtype))


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_in_place_gives_the_values_of_the_bits(name: str, dtype: Any) -> None:
    values = interesting(DTYPES[name])
    rounded = values.astype(dtype)
    round_in_place(rounded, name)
    expected = convert(bits_of(values, name).view(STORAGE[name]), name)
    np.testing.assert_array_equal(rounded, expected)
    np.testing.assert_array_equal(np.signbit(rounded), np.signbit(expected))


@pytest.mark.parametrize("name", DTYPES)
def test_nan_has_the_same_bits_on_every_machine(name: str) -> None:
    bits = np.array([0x7FC00000, 0x7F800001, 0xFF812345, 0xFFFFFFFF, 0x3F800000], np.uint32)
    found = bits_of(bits.view(np.float32), name)
    sign = 1 << (8 * found.itemsize - 1)
    quiet = NAN_BITS[name]
    assert found[:4].tolist() == [quiet, quiet, sign | quiet, sign | quiet]
    assert not np.isnan(convert(found.view(STORAGE[name]), name)[4])


def test_bits_may_be_written_over_the_values() -> None:
    values = np.random.default_rng(1).standard_normal(200_001).astype(np.float32)
    expected = bits_of(values, "BF16")
    out = values.view(np.uint16)[: values.size]
    round_to_bits(values, "BF16", out)
    np.testing.assert_array_equal(out, expected)


def test_bits_may_be_unaligned() -> None:
    values = np.random.default_rng(1).standard_normal(1001).astype(np.float32)
    memory = bytearray(2003)
    round_to_bits(values, "F16", np.frombuffer(memory, "<u2", 1001, 1))
    assert memory[1:] == bits_of(values, "F16").tobytes()
