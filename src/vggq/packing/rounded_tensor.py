"""Quantize a tensor whose restored values stand in a file, in the dtype of the source.

Values are rounded to that dtype after quantization, so the error is that of both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .. import _dtypes
from .._decode import decode, decompress_entry
from .._manifest import compute_sqnr
from .compression import compressed_size
from .encoded_tensor import quantize_values
from .goals import Sqnr
from .metrics import measure_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .encoded_tensor import EncodedTensor
    from .options import Options
    from .sources import SourceTensor

_MAX_ATTEMPTS: Final = 8
# Near the precision of the dtype, the error shrinks with the root of the error before rounding.
_EAGERNESS: Final = 1.5
_MIN_INCREASE: Final = 0.02


def quantize_in_file(
    tensor: SourceTensor,
    stored: NDArray[Any],
    values: NDArray[Any],
    options: Options,
    scale: float,
) -> EncodedTensor | None:
    """Return the quantized entry; None if the tensor is better stored exactly.

    That is so if its dtype is too coarse for the SQNR, or if that does not take more bytes.
    """
    goal = options.goal_for(tensor.name)
    if tensor.dtype == "F32":
        return quantize_values(tensor, values, options, scale, goal)
    exact = stored if tensor.dtype == "F64" else values
    exact_size = compressed_size(stored.tobytes())
    target = goal
    for _ in range(_MAX_ATTEMPTS):
        found = quantize_values(tensor, values, options, scale, target)
        if found is None or len(found.frame) >= exact_size:
            return None
        found = _round_and_measure(found, tensor, exact)
        if not isinstance(goal, Sqnr) or not isinstance(target, Sqnr):
            return found
        missing = goal.sqnr - compute_sqnr(found.energy, found.noise)
        if missing <= 0:
            return found
        target = Sqnr(target.sqnr + _EAGERNESS * missing + _MIN_INCREASE)
    return None


def _round_and_measure(
    found: EncodedTensor, tensor: SourceTensor, exact: NDArray[Any]
) -> EncodedTensor:
    """Return the entry with its values rounded to the dtype, and the error of these."""
    dtype = tensor.dtype if tensor.dtype in _dtypes.NARROW else "F32"
    rounded = replace(found, stored_dtype=dtype)
    info = rounded.describe(tensor, 0)
    restored = decode(decompress_entry(found.frame, info), info, np.dtype(np.float32))
    energy, noise = measure_noise(exact, restored)
    return replace(rounded, energy=energy, noise=noise)
