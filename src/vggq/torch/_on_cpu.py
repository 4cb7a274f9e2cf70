"""Restore one torch tensor on the CPU, with numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from .. import _decode, _dtypes
from . import _codebook, _torch_dtypes

if TYPE_CHECKING:
    from .._buffers import Buffer
    from .._manifest import TensorInfo


def restore_tensor(content: Buffer, tensor: TensorInfo, dtype: torch.dtype) -> torch.Tensor:
    """Restore one tensor from its validated content.

    Args:
        content: the validated content of the tensor, as `PackedFile.content` returns it.
        tensor: the manifest's description of the tensor.
        dtype: any floating-point dtype for a floating-point tensor, else the default dtype.

    """
    numpy_dtype = _torch_dtypes.numpy_dtype(tensor, dtype)
    if numpy_dtype is not None:
        return torch.from_numpy(_decode.decode(content, tensor, numpy_dtype))
    if codec := _decode.find_plain_codebook(tensor):
        codebook, codes = _decode.split_codebook(content, codec, tensor)
        weights = _codebook.look_up_with_numpy(codebook, codes, codec.width, tensor.count, dtype)
        return weights.reshape(tensor.shape)
    if not tensor.quantized and dtype == _torch_dtypes.TORCH_ONLY.get(tensor.stored_dtype):
        stored = _dtypes.STORAGE[tensor.stored_dtype]
        bits = np.frombuffer(content, stored).astype(stored.newbyteorder("="))
        return torch.from_numpy(bits).view(dtype).reshape(tensor.shape)
    # float64 is rounded once, from its own precision.
    widest = np.dtype(np.float64) if tensor.stored_dtype == "F64" else tensor.dtype
    return _torch_dtypes.round_to(_decode.decode(content, tensor, widest), dtype)
