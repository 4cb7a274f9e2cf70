"""What quantization did to a tensor, in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Sums are in float64: only so many weights are at a time.
_PIECE: Final = 1 << 18


def measure(values: NDArray[Any], restored: NDArray[Any]) -> tuple[float, float]:
    """Σw² and Σ(w - ŵ)² in float64, to nine digits.

    Nine, so that the last bits of a sum, which depend on the processor, do not reach the file.
    """
    energy = noise = 0.0
    values, restored = values.reshape(-1), restored.reshape(-1)
    for begin in range(0, values.size, _PIECE):
        exact = values[begin : begin + _PIECE].astype(np.float64)
        energy += float(np.square(exact).sum())
        noise += float(np.square(exact - restored[begin : begin + _PIECE]).sum())
    return float(f"{energy:.9g}"), float(f"{noise:.9g}")
