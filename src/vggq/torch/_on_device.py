"""Restore one torch tensor on a device other than the CPU, in two steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch

from .. import _decode
from .._codecs import Codebook, Grid
from . import _codebook, _grid, _on_cpu, _torch_dtypes
from ._codebook import CodebookParts
from ._grid_parts import GridParts, split_content

if TYPE_CHECKING:
    from .._buffers import Buffer
    from .._manifest import TensorInfo
    from ._transfer import Move

Prepared: TypeAlias = CodebookParts | GridParts | torch.Tensor
"""What is moved to a device: the parts of a codec, or the restored tensor."""


def decodes_with_numpy(device: torch.device) -> bool:
    """Whether numpy decodes tensors for the device, instead of the device itself."""
    return bool(device.type == "cpu")


def prepare(
    content: Buffer, tensor: TensorInfo, device: torch.device, dtype: torch.dtype
) -> Prepared:
    """Do what the CPU does for a tensor, in any thread.

    Args:
        content: the validated content of the tensor, as `PackedFile.content` returns it.
        tensor: the manifest's description of the tensor.
        device: the device that the tensor is restored on.
        dtype: any floating-point dtype for a floating-point tensor, else the default dtype.

    """
    codec = tensor.codec
    if plain := _decode.find_plain_codebook(tensor):
        return _codebook.split_plain(content, plain, tensor, dtype)
    if isinstance(codec, Codebook) and not tensor.rounded:
        if _codebook.has_normal_products(content, codec):
            return _codebook.split_scaled(content, codec, tensor.count)
    # Other devices may lack float64, or replace subnormal numbers by zeros.
    elif isinstance(codec, Grid) and tensor.count and device.type in {"cpu", "cuda"}:
        return split_content(content, codec, tensor.count)
    return _on_cpu.restore_tensor(content, tensor, dtype)


def move_largest(prepared: Prepared, move: Move) -> None:
    """Move the codes or levels, which take nearly all bytes; `restore_tensor` moves the rest."""
    if isinstance(prepared, CodebookParts):
        prepared.codes = move(prepared.codes)
    elif isinstance(prepared, GridParts):
        prepared.levels = move(prepared.levels)


def restore_tensor(
    prepared: Prepared, tensor: TensorInfo, dtype: torch.dtype, move: Move
) -> torch.Tensor:
    """Restore one tensor on the current stream of a device.

    Args:
        prepared: a result of `prepare`.
        tensor: the manifest's description of the tensor.
        dtype: the dtype for which the tensor was prepared.
        move: moves values to the device.

    """
    if isinstance(prepared, torch.Tensor):
        return move(prepared)
    if isinstance(prepared, GridParts):
        (weights,) = _grid.restore_all([prepared], move)
        return round_grid(weights, tensor, dtype)
    weights = _codebook.restore(prepared, move)
    return _torch_dtypes.round_on_device(weights, dtype).reshape(tensor.shape)


def round_grid(weights: torch.Tensor, tensor: TensorInfo, dtype: torch.dtype) -> torch.Tensor:
    """Round the weights of a grid to the stored dtype, and then to a floating-point dtype."""
    if stored := _torch_dtypes.narrow_dtype(tensor):
        weights = _torch_dtypes.round_on_device(weights, stored).float()
    return _torch_dtypes.round_on_device(weights, dtype).reshape(tensor.shape)
