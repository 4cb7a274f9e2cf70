"""Rounding of floating-point values to another dtype: to nearest, ties to even, saturating.

A finite value beyond the range of the dtype becomes the largest finite value of its sign. Infinite
values and NaN are kept; float8 E4M3 has no infinities, so infinite values saturate as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_FINITE: Final = {
    "float8_e4m3fn": 448.0,
    "float8_e5m2": 57344.0,
    "float16": 65504.0,
    "bfloat16": float.fromhex("0x1.fep127"),
    "float32": float.fromhex("0x1.fffffep127"),
    "float64": float.fromhex("0x1.fffffffffffffp1023"),
}
"""The largest finite value of each floating-point dtype, by its name in numpy or ml_dtypes."""

_WITHOUT_INFINITY: Final = "float8_e4m3fn"
# ml_dtypes rounds float64 to these by way of float32.
_ROUNDED_TWICE: Final = frozenset({"float8_e4m3fn", "float8_e5m2", "bfloat16"})


def round_into(values: NDArray[Any], out: NDArray[Any]) -> None:
    """Round values into an array of the same shape.

    Args:
        values: of a floating-point dtype of numpy, or of the dtype of `out`.
        out: of any dtype of `MAX_FINITE`, or of the dtype of `values`.

    """
    name = out.dtype.name
    limit = MAX_FINITE.get(name, np.inf)
    with np.errstate(all="ignore"):
        if limit < MAX_FINITE.get(values.dtype.name, 0.0):
            values = saturate(values, limit, keep_infinite=name != _WITHOUT_INFINITY)
        if name in _ROUNDED_TWICE:
            values = round_to_odd(values)
        out[...] = values


def saturate(values: NDArray[Any], limit: float, *, keep_infinite: bool = True) -> NDArray[Any]:
    """Limit values to the range of a narrower dtype, without rounding them to it.

    Args:
        values: of a floating-point dtype of numpy.
        limit: the largest finite value of the narrower dtype.
        keep_infinite: whether infinite values stay infinite.

    Returns:
        The same array if all values are in the range, else a new one.

    """
    with np.errstate(all="ignore"):
        # False if there is a NaN.
        if -limit <= values.min(initial=0) and values.max(initial=0) <= limit:
            return values
        # Without axes, numpy returns a scalar.
        limited = np.asarray(np.clip(values, -limit, limit))
        return np.where(np.isinf(values), values, limited) if keep_infinite else limited


def round_to_odd(values: NDArray[Any]) -> NDArray[Any]:
    """Round float64 to float32 so that rounding again to fewer bits gives the nearest value.

    An inexact value is truncated, and its last bit set. So it is never half-way between two values
    of fewer bits. Arrays of other dtypes are returned unchanged. Boldo and Melquiond, 2008,
    https://doi.org/10.1109/TC.2007.70819
    """
    if values.dtype.name != "float64":
        return values
    with np.errstate(all="ignore"):
        rounded = values.astype(np.float32)
        widened = rounded.astype(np.float64)
        bits = rounded.view(np.uint32)
        bits -= np.abs(widened) > np.abs(values)
        bits |= widened != values
    return rounded
