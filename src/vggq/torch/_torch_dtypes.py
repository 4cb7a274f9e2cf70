"""The torch dtype that a tensor is restored as, and numpy's equivalent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from .. import _arguments, _dtypes, _rounding
from ..errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .._manifest import TensorInfo

TORCH_ONLY: Final = {
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
"""The dtypes that torch has and numpy lacks, by their safetensors names."""

_FLOATING_DTYPES: Final[dict[torch.dtype, np.dtype[Any]]] = {
    torch.float16: np.dtype(np.float16),
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}
_WITH_INFINITY: Final = frozenset({*_FLOATING_DTYPES, torch.bfloat16, torch.float8_e5m2})


def resolve_torch_dtype(dtype: torch.dtype | str | None) -> Callable[[TensorInfo], torch.dtype]:
    """Return the dtype of each tensor for the argument `dtype` of `vggq.torch.load`.

    Raises:
        OptionError: floating-point tensors cannot be restored as this dtype.

    """
    if dtype is None:
        return default_dtype
    if dtype == _arguments.SOURCE:
        return _torch_source_dtype
    if not isinstance(dtype, torch.dtype) or not holds_weights(dtype):
        expected = f"a floating-point dtype of torch for signed values, or {_arguments.SOURCE!r}"
        raise OptionError([("dtype", f"expected {expected}, found {dtype!r}")])
    return lambda tensor: dtype if is_floating(tensor) else default_dtype(tensor)


def is_floating(tensor: TensorInfo) -> bool:
    """Whether the tensor is of a floating-point dtype in the source."""
    return tensor.source_dtype in _dtypes.FLOATING


def default_dtype(tensor: TensorInfo) -> torch.dtype:
    """Return the dtype that a tensor is restored as by default."""
    return _from_numpy_dtype(tensor.dtype)


def _torch_source_dtype(tensor: TensorInfo) -> torch.dtype:
    if tensor.source_dtype in TORCH_ONLY:
        return TORCH_ONLY[tensor.source_dtype]
    return _from_numpy_dtype(_dtypes.STORAGE[tensor.source_dtype].newbyteorder("="))


def _from_numpy_dtype(dtype: np.dtype[Any]) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype)).dtype


def narrow_dtype(tensor: TensorInfo) -> torch.dtype | None:
    """Return the dtype that the values of the codec are rounded to; None if they are not."""
    if not tensor.rounded:
        return None
    return TORCH_ONLY.get(tensor.stored_dtype, torch.float16)


def holds_weights(dtype: torch.dtype) -> bool:
    """Whether a dtype is floating-point and signed, and torch can convert to it."""
    try:
        return bool(dtype.is_floating_point and torch.finfo(dtype).min < 0)
    except RuntimeError:
        # torch has no arithmetic for float4.
        return False


def round_to(values: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
    """Round an array as `_rounding` does, to a dtype for which `holds_weights` is true.

    Args:
        values: a writable float32 or float64 array.
        dtype: the dtype of the tensor.

    """
    limited = limit_to(values, dtype)
    # torch rounds float64 by way of float32.
    narrow = _rounding.round_to_odd(limited) if dtype.itemsize < 4 else limited
    return torch.from_numpy(narrow).to(dtype)


def round_on_device(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Round finite float32 values as `round_to` does, on their own device; may change them."""
    limit = torch.finfo(dtype).max
    if limit < torch.finfo(values.dtype).max:
        values.clamp_(-limit, limit)
    return values.to(dtype)


def limit_to(values: NDArray[Any], dtype: torch.dtype) -> NDArray[Any]:
    """Limit values to the range of a dtype, without rounding them; see `_rounding.saturate`."""
    limit = torch.finfo(dtype).max
    if limit >= _rounding.MAX_FINITE[values.dtype.name]:
        return values
    return _rounding.saturate(values, limit, keep_infinite=dtype in _WITH_INFINITY)


def numpy_dtype(tensor: TensorInfo, dtype: torch.dtype) -> np.dtype[Any] | None:
    """Return the numpy dtype with which a tensor can be decoded to a torch dtype; None if none."""
    if is_floating(tensor):
        return _FLOATING_DTYPES.get(dtype)
    return tensor.dtype if dtype == default_dtype(tensor) else None
