"""The dtypes of stored tensors, under their safetensors names.

safetensors has no name for complex128; its name here is C128.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ._rounding import MAX_FINITE, round_into, saturate

if TYPE_CHECKING:
    from numpy.typing import NDArray

# numpy has neither bfloat16 nor float8: their bits are kept in integers.
STORAGE: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F8_E4M3": np.dtype("u1"),
    "F8_E5M2": np.dtype("u1"),
    "BF16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "C64": np.dtype("<c8"),
    "C128": np.dtype("<c16"),
}

FLOATING: Final = frozenset({"F8_E4M3", "F8_E5M2", "BF16", "F16", "F32", "F64"})
NARROW: Final = frozenset({"F8_E4M3", "F8_E5M2", "BF16", "F16"})
"""The floating-point dtypes that float32 has all values of."""

ML_DTYPES: Final = {
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
"""The names in ml_dtypes of the dtypes that numpy lacks."""

_FLOAT32: Final = np.dtype(np.float32)

# Elements to convert at a time: few enough to stay in the processor's cache.
_CHUNK: Final = 1 << 16

_DTYPE_NAMES: Final = {dtype: name for name, dtype in STORAGE.items() if name not in ML_DTYPES}


def dtype_name(dtype: np.dtype[Any]) -> str | None:
    """Return the safetensors name of a numpy dtype of either byte order; None if it has none."""
    return _DTYPE_NAMES.get(dtype.newbyteorder("<"))


def restored_dtype(name: str) -> np.dtype[Any]:
    """Return the native numpy dtype that a tensor stored as `name` is restored as by default."""
    return _FLOAT32 if name in FLOATING else STORAGE[name].newbyteorder("=")


def convert(
    values: NDArray[Any], name: str, *, copy: bool = True, saturating: bool = True
) -> NDArray[Any]:
    """Convert stored values to the dtype they are restored as.

    Narrower floating-point dtypes are widened exactly. float64 is rounded to float32.

    Args:
        values: an array in the storage dtype of `name`.
        name: the safetensors name of the stored dtype.
        copy: whether to return a new array even if no conversion is needed.
        saturating: whether float64 values beyond the range of float32 become its largest finite
            value, as in a restored tensor. If not, they become infinite.

    """
    if name == "BF16":
        # With the dtype, because numpy 1 would shift a single number as int64.
        bits = np.left_shift(values, 16, dtype=np.uint32)
        return np.asarray(bits).view(np.float32)
    if name == "F8_E5M2":
        # Its bits are the upper half of a float16, so nothing is rounded.
        with np.errstate(all="ignore"):
            return (values.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
    if name == "F8_E4M3":
        return np.take(_e4m3_values(), values)
    with np.errstate(all="ignore"):
        if saturating and name == "F64":
            values = saturate(values, MAX_FINITE["float32"])
        return values.astype(restored_dtype(name), copy=copy)


def convert_into(values: NDArray[Any], name: str, out: NDArray[Any]) -> None:
    """Convert stored values into an array of any floating-point dtype, or of the dtype itself.

    Into the dtype itself every bit is kept. Into a narrower dtype values are rounded once, and
    saturate: see `_rounding`. No temporary array is as large as `out`.

    Args:
        values: a flat array in the storage dtype of `name`.
        name: the safetensors name of the stored dtype.
        out: a flat array of the same size.

    """
    if out.dtype == values.dtype:
        # One copy takes less time than one for each chunk.
        out[:] = values
        return
    if out.dtype.name == ML_DTYPES.get(name):
        out.view(values.dtype.newbyteorder("="))[:] = values
        return
    # numpy converts its own dtypes directly: going through float32 would round float64 twice.
    via_float32 = name in FLOATING and values.dtype.kind != "f"
    for start in range(0, out.size, _CHUNK):
        chunk = values[start : start + _CHUNK]
        round_into(convert(chunk, name) if via_float32 else chunk, out[start : start + _CHUNK])


def _e4m3_values() -> NDArray[np.float32]:
    """Return the value of each byte of float8 E4M3.

    The type has no infinities. It is NaN where all bits but the sign are set.
    Micikevicius et al., "FP8 formats for deep learning", 2022, https://arxiv.org/abs/2209.05433
    """
    bits = np.arange(128)
    exponent, mantissa = bits >> 3, bits & 7
    subnormal = exponent == 0
    values = np.ldexp(mantissa + np.where(subnormal, 0.0, 8.0), exponent + subnormal - 10)
    values[-1] = np.nan
    return np.concatenate([values, -values]).astype(np.float32)
