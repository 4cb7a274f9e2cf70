"""Measures of the error of quantization."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Weights at a time, which limits the size of the float64 copies.
_CHUNK: Final = 1 << 18


def as_real(array: NDArray[Any]) -> NDArray[Any]:
    """Return the real and imaginary parts of a complex array in one row, or any other array."""
    return array.reshape(-1).view(array.real.dtype) if array.dtype.kind == "c" else array


def measure_noise(values: NDArray[Any], restored: NDArray[Any]) -> tuple[float, float]:
    """Return the energy Σw² and the noise Σ(w - ŵ)², in float64, rounded to nine digits.

    The last bits of a sum depend on the processor. Rounding keeps them out of the packed file.

    Args:
        values: the weights w, of any shape.
        restored: the restored weights ŵ, of the same shape.

    """
    energy = noise = 0.0
    values, restored = values.reshape(-1), restored.reshape(-1)
    for begin in range(0, values.size, _CHUNK):
        exact = values[begin : begin + _CHUNK].astype(np.float64)
        energy += float(np.square(exact).sum())
        noise += float(np.square(exact - restored[begin : begin + _CHUNK]).sum())
    return float(f"{energy:.9g}"), float(f"{noise:.9g}")


def format_sqnr(sqnr: float, unit: str = "") -> str:
    """Return an SQNR in dB as text, followed by `unit`; "exact" if it is infinite."""
    return "exact" if sqnr == math.inf else f"{sqnr:.2f}{unit}"
