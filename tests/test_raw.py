"""The `raw` codec with every dtype, and the names of dtypes."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from vggq import _dtypes
from vggq._codecs import Raw

from .helpers import decoded


@pytest.mark.parametrize("name", sorted(_dtypes.STORAGE))
def test_every_dtype_is_restored(name: str) -> None:
    dtype = _dtypes.STORAGE[name]
    values = np.arange(100).astype(dtype) if name != "BOOL" else np.arange(100) % 2 == 0
    content = values.tobytes()
    assert Raw(name).content_size(100) == len(content)
    restored = decoded(Raw(name), content, 100)
    assert restored.flags.writeable
    assert restored.dtype == _dtypes.restored_dtype(name)
    assert restored.dtype.isnative
    if name not in _dtypes.ML_DTYPES:
        np.testing.assert_array_equal(restored, values)


def test_float32_keeps_every_bit() -> None:
    patterns = np.array([0x7FC00001, 0xFFFFFFFF, 0x7F800000, 0x80000000, 1, 0x00800000], "<u4")
    restored = decoded(Raw("F32"), patterns.tobytes(), 6)
    np.testing.assert_array_equal(restored.view(np.uint32), patterns)


def test_float16_is_widened_exactly() -> None:
    every = np.arange(65536, dtype="<u2").view("<f2")
    restored = decoded(Raw("F16"), every.tobytes(), every.size)
    np.testing.assert_array_equal(restored.astype(np.float16), every)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("BF16", ml_dtypes.bfloat16),
        ("F8_E4M3", ml_dtypes.float8_e4m3fn),
        ("F8_E5M2", ml_dtypes.float8_e5m2),
    ],
)
def test_dtypes_that_numpy_lacks_are_widened_exactly(name: str, dtype: type) -> None:
    every = np.arange(1 << 8 * np.dtype(dtype).itemsize).astype(_dtypes.STORAGE[name])
    restored = decoded(Raw(name), every.tobytes(), every.size)
    expected = every.view(dtype).astype(np.float32)
    np.testing.assert_array_equal(restored, expected)
    np.testing.assert_array_equal(np.signbit(restored), np.signbit(expected))


def test_float64_is_rounded_and_saturates_without_a_warning() -> None:
    values = np.array([1 / 3, 1e300, -1e300, 1e-300, np.inf, -np.inf, np.nan])
    restored = decoded(Raw("F64"), values.tobytes(), values.size)
    largest = np.finfo(np.float32).max
    expected = [np.float32(1 / 3), largest, -largest, 0, np.inf, -np.inf, np.nan]
    np.testing.assert_array_equal(restored, np.array(expected, np.float32))


def test_boolean_other_than_0_or_1_is_rejected() -> None:
    assert decoded(Raw("BOOL"), b"\0\1", 2).tolist() == [False, True]
    assert decoded(Raw("BOOL"), b"", 0).tolist() == []
    with pytest.raises(ValueError, match="a boolean is neither 0 nor 1"):
        decoded(Raw("BOOL"), b"\0\2", 2)


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ("f4", "F32"),
        (">f8", "F64"),
        ("<i2", "I16"),
        ("?", "BOOL"),
        (">u8", "U64"),
        ("u1", "U8"),
        ("c8", "C64"),
        (">c16", "C128"),
    ],
)
def test_name_of_a_numpy_dtype(dtype: str, name: str) -> None:
    assert _dtypes.dtype_name(np.dtype(dtype)) == name


@pytest.mark.parametrize("dtype", ["O", "U3", "S2", "M8[s]", "f4,i4", "V3"])
def test_dtypes_without_a_name(dtype: str) -> None:
    kind: Any = np.dtype(dtype)
    assert _dtypes.dtype_name(kind) is None
