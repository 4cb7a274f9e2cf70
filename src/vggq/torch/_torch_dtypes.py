"""Which dtype of torch a tensor is restored as."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from .. import _arguments, _dtypes
from ..errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._manifest import TensorInfo

# What torch has and numpy lacks.
OWN: Final = {
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}

_SHARED: Final[dict[torch.dtype, np.dtype[Any]]] = {
    torch.float16: np.dtype(np.float16),
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}


def resolve_dtype(dtype: torch.dtype | str | None) -> Callable[[TensorInfo], torch.dtype]:
    """The dtype that the option `dtype` gives each tensor.

    Raises:
        OptionError: it is no floating-point dtype of torch, and not ``"source"``.

    """
    if dtype is None:
        return natural
    if dtype == _arguments.SOURCE:
        return _own
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        expected = f"a floating-point dtype of torch or {_arguments.SOURCE!r}"
        raise OptionError([("dtype", f"is {dtype!r}, expected {expected}")])
    return lambda tensor: dtype if is_floating(tensor) else natural(tensor)


def is_floating(tensor: TensorInfo) -> bool:
    return tensor.source_dtype in _dtypes.FLOATING


def natural(tensor: TensorInfo) -> torch.dtype:
    """The dtype that a tensor has if nothing else is asked for."""
    return torch.from_numpy(np.empty(0, tensor.dtype)).dtype


def _own(tensor: TensorInfo) -> torch.dtype:
    if tensor.source_dtype in OWN:
        return OWN[tensor.source_dtype]
    native = _dtypes.STORAGE[tensor.source_dtype].newbyteorder("=")
    return torch.from_numpy(np.empty(0, native)).dtype


def shared(tensor: TensorInfo, dtype: torch.dtype) -> np.dtype[Any] | None:
    """The numpy dtype in which a tensor can be decoded to be of this dtype of torch."""
    if is_floating(tensor):
        return _SHARED.get(dtype)
    return tensor.dtype if dtype == natural(tensor) else None
