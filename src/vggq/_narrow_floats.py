"""Floating-point dtypes narrower than float32: rounding to their bits, with numpy alone.

The rounding is that of `_rounding`: to nearest, ties to even, saturating. NaN becomes the quiet NaN
of its sign, so that the bits are the same on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from . import _dtypes
from ._rounding import MAX_FINITE, saturate

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Elements to round at a time: few enough to stay in the processor's cache.
_CHUNK: Final = 1 << 16


class _Form(NamedTuple):
    """The form of a dtype.

    Attributes:
        mantissa: bits of the mantissa.
        bias: bias of the exponent.
        nan: the bits of the quiet NaN.

    """

    mantissa: int
    bias: int
    nan: int


_FORMS: Final = {
    "F16": _Form(10, 15, 0x7E00),
    "BF16": _Form(7, 127, 0x7FC0),
    "F8_E5M2": _Form(2, 15, 0x7E),
    "F8_E4M3": _Form(3, 7, 0x7F),
}
_WITHOUT_INFINITY: Final = "F8_E4M3"


def round_to_bits(values: NDArray[np.float32], name: str, out: NDArray[Any]) -> None:
    """Write the bits of values, rounded to a narrow dtype.

    Args:
        values: a flat array.
        name: the safetensors name of a dtype of `_dtypes.NARROW`.
        out: an unsigned array of the same size and of the dtype's itemsize, of any byte order and
            alignment. It may be at the beginning of the memory of `values`.

    """
    for start in range(0, values.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        out[part] = _round_chunk(values[part], name)


def round_in_place(values: NDArray[Any], name: str) -> None:
    """Round values to those of a narrow dtype.

    Args:
        values: a flat array of float32, or of float64 with values of float32.
        name: the safetensors name of a dtype of `_dtypes.NARROW`.

    """
    storage = _dtypes.STORAGE[name].newbyteorder("=")
    for start in range(0, values.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        bits = _round_chunk(values[part].astype(np.float32, copy=False), name)
        values[part] = _dtypes.convert(bits.view(storage), name)


def _round_chunk(values: NDArray[np.float32], name: str) -> NDArray[Any]:
    """Return the bits as an unsigned array in the native byte order."""
    form = _FORMS[name]
    limit = MAX_FINITE[_dtypes.ML_DTYPES.get(name, "float16")]
    with np.errstate(all="ignore"):
        limited = saturate(values, limit, keep_infinite=name != _WITHOUT_INFINITY)
        if name == "F16":
            bits: NDArray[Any] = limited.astype(np.float16).view(np.uint16)
        elif name == "BF16":
            bits = _round_to_upper_half(limited)
        else:
            bits = _round_to_byte(limited, form)
        is_nan = np.isnan(values)
        if is_nan.any():
            bits[is_nan] = form.nan
            bits |= np.signbit(values).astype(bits.dtype) << (8 * bits.itemsize - 1)
    return bits


def _round_to_upper_half(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    bits = values.view(np.uint32)
    # Half of the last bit that is kept, or just less where that bit is even.
    half = np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))
    return ((bits + half) >> np.uint32(16)).astype(np.uint16)


def _round_to_byte(values: NDArray[np.float32], form: _Form) -> NDArray[np.uint8]:
    """Return the bits of values of eight bits; NaN has any bits.

    A value is an integer of at most `mantissa` + 1 bits times a power of two. If rounding carries
    the integer into another bit, the addition carries it into the bits of the exponent.
    """
    magnitude = np.abs(values)
    smallest = 1 - form.bias
    # frexp gives a fraction from 0.5 to 1; the exponent that is stored is for one from 1 to 2.
    exponent = np.maximum(np.frexp(magnitude)[1] - 1, smallest)
    exponent[magnitude == 0] = smallest
    integers = np.rint(np.ldexp(magnitude, form.mantissa - exponent))
    bits: NDArray[np.int32] = np.nan_to_num(integers, nan=0, posinf=0).astype(np.int32)
    bits += (exponent - smallest) << form.mantissa
    bits[np.isinf(magnitude)] = form.nan >> form.mantissa << form.mantissa
    bits |= np.signbit(values).astype(np.int32) << 7
    return bits.astype(np.uint8)
