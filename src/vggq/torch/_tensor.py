"""The proved content of one entry to a torch tensor, put together on the device it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from .. import _decode, _dtypes, _load
from .._codecs.codebook import Codebook, centroids_of_bytes, look_up
from . import _torch_dtypes

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._buffers import Buffer
    from .._manifest import TensorInfo
    from .._packed_file import PackedFile

_BITS: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

# Codes are widened to four bytes to index with: so many at a time.
_PIECE: Final = 1 << 22


def restore_all(
    packed: PackedFile,
    device: torch.device | str | int | None,
    choose: Callable[[TensorInfo], torch.dtype],
    threads: int | None,
) -> dict[str, torch.Tensor]:
    """Every tensor by name, as `vggq.torch.load` says."""
    # Resolved here, since each thread has a current device of its own.
    place = torch.empty(0, device="cpu" if device is None else device).device

    def made(name: str, content: Buffer) -> torch.Tensor:
        tensor = packed.tensors[name]
        return restore(content, tensor, place, choose(tensor))

    names = list(_load.names_by_entry(packed).values())
    if decodes_here(place):
        buffers = packed.buffers()
        decoded = _load.map_tensors(
            lambda name: made(name, packed.content(name, buffers)), packed, names, threads
        )
        return _load.share_tied(packed, decoded)
    # Only the calling thread has the stream that the caller may have chosen.
    contents = _load.map_tensors(packed.content, packed, names, threads)
    return _load.share_tied(packed, map(made, names, contents))


def decodes_here(device: torch.device) -> bool:
    """Whether numpy decodes what is for the device, rather than the device itself."""
    return bool(device.type == "cpu")


def restore(
    content: Buffer, tensor: TensorInfo, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """A fresh tensor on the device, which has an index where it can have one.

    Args:
        content: what `PackedFile.content` gave.
        tensor: whose content it is.
        device: where it is to be.
        dtype: any floating-point one if the tensor is of floating point; else its natural one.

    """
    array_dtype = _torch_dtypes.shared(tensor, dtype)
    if array_dtype is not None and decodes_here(device):
        return torch.from_numpy(_decode.decode(content, tensor, array_dtype))
    if isinstance(tensor.codec, Codebook):
        made = _looked_up if decodes_here(device) else _looked_up_there
        return made(tensor, tensor.codec, content, device, dtype).reshape(tensor.shape)
    if dtype == _torch_dtypes.OWN.get(tensor.source_dtype):
        stored = _dtypes.STORAGE[tensor.source_dtype]
        bits = np.frombuffer(content, stored).astype(stored.newbyteorder("="))
        return torch.from_numpy(bits).view(dtype).reshape(tensor.shape).to(device)
    widest = np.dtype(np.float64) if tensor.stored_dtype == "F64" else tensor.dtype
    array = _decode.decode(content, tensor, array_dtype or widest)
    return torch.from_numpy(array).to(device, dtype)


def _looked_up(
    tensor: TensorInfo, codec: Codebook, content: Buffer, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    codebook, codes = codec.split(content)
    # As whole numbers, since numpy has not every floating-point dtype; and from a copy, since torch
    # warns of memory that may not be written to.
    table = torch.from_numpy(codebook.copy()).to(device, dtype).view(_BITS[dtype.itemsize]).numpy()
    out = np.empty(tensor.count, table.dtype)
    look_up(table, codes, codec.width, out)
    return torch.from_numpy(out).view(dtype)


def _looked_up_there(
    tensor: TensorInfo, codec: Codebook, content: Buffer, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    codebook, codes = codec.split(content)
    rows = torch.from_numpy(centroids_of_bytes(codebook, codec.width)).to(device, dtype)
    units = torch.from_numpy(codes.copy()).to(device)
    # As whole numbers, since not every device looks up every floating-point dtype.
    rows = rows.view(_BITS[dtype.itemsize])
    out = torch.empty((len(units), rows.shape[1]), dtype=rows.dtype, device=device)
    for start in range(0, len(units), _PIECE):
        piece = slice(start, start + _PIECE)
        torch.index_select(rows, 0, units[piece].int(), out=out[piece])
    return out.view(dtype).reshape(-1)[: tensor.count]
