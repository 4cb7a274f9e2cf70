"""The torch dtype that a tensor is restored as, and numpy's equivalent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from .. import _arguments, _dtypes
from ..errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

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


def resolve_torch_dtype(dtype: torch.dtype | str | None) -> Callable[[TensorInfo], torch.dtype]:
    """Return the dtype of each tensor for the argument `dtype` of `vggq.torch.load`.

    Raises:
        OptionError: floating-point tensors cannot be restored as this dtype.

    """
    if dtype is None:
        return default_dtype
    if dtype == _arguments.SOURCE:
        return _torch_source_dtype
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        expected = f"a floating-point dtype of torch or {_arguments.SOURCE!r}"
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


def numpy_dtype(tensor: TensorInfo, dtype: torch.dtype) -> np.dtype[Any] | None:
    """Return the numpy dtype with which a tensor can be decoded to a torch dtype; None if none."""
    if is_floating(tensor):
        return _FLOATING_DTYPES.get(dtype)
    return tensor.dtype if dtype == default_dtype(tensor) else None
