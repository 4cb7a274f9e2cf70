"""Restore torch tensors from validated content, on the device they are for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from .. import _decode, _dtypes, _load
from .._codecs import Codebook
from .._codecs._look_up import centroid_table, look_up
from . import _torch_dtypes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .._buffers import Buffer
    from .._manifest import TensorInfo
    from .._packed_file import PackedFile

_INTEGER_DTYPES: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

_MIN_NORMAL: Final = float(np.finfo(np.float32).tiny)

# Codes to look up at a time on a device. An index takes four bytes, so this bounds the memory.
_CHUNK: Final = 1 << 22


def restore_tensors(
    packed: PackedFile,
    device: torch.device | str | int | None,
    dtype_of: Callable[[TensorInfo], torch.dtype],
    threads: int | None,
) -> dict[str, torch.Tensor]:
    """Restore every tensor of an open packed file on a device.

    Args:
        packed: the packed file.
        device: as for `vggq.torch.load`.
        dtype_of: returns the dtype to restore a tensor as.
        threads: as for `vggq.load`.

    """
    # Resolved in the calling thread, because each thread has its own current device.
    resolved = torch.empty(0, device="cpu" if device is None else device).device

    def restore(name: str, content: Buffer) -> torch.Tensor:
        tensor = packed.tensors[name]
        return restore_tensor(content, tensor, resolved, dtype_of(tensor))

    names = list(_load.names_by_entry(packed).values())
    if decodes_with_numpy(resolved):
        buffers = packed.buffers()
        decoded = _load.map_tensors(
            lambda name: restore(name, packed.content(name, buffers)), packed, names, threads
        )
        return _load.share_tied(packed, decoded)
    # Restored in the calling thread, because only it has the stream that the caller may have set.
    contents = _load.map_tensors(packed.content, packed, names, threads)
    return _load.share_tied(packed, map(restore, names, contents))


def decodes_with_numpy(device: torch.device) -> bool:
    """Whether numpy decodes tensors for the device, instead of the device itself."""
    return bool(device.type == "cpu")


def restore_tensor(
    content: Buffer, tensor: TensorInfo, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """Restore one tensor from its validated content.

    Args:
        content: the validated content of the tensor, as `PackedFile.content` returns it.
        tensor: the manifest's description of the tensor.
        device: the device, with its index if it has one.
        dtype: any floating-point dtype for a floating-point tensor, else the default dtype.

    """
    numpy_dtype = _torch_dtypes.numpy_dtype(tensor, dtype)
    if numpy_dtype is not None and decodes_with_numpy(device):
        return torch.from_numpy(_decode.decode(content, tensor, numpy_dtype))
    if isinstance(tensor.codec, Codebook) and tensor.codec.slices:
        is_on_device = not (decodes_with_numpy(device) or tensor.rounded)
        if is_on_device and has_normal_products(content, tensor.codec):
            weights = scale_on_device(content, tensor.codec, tensor.count, device)
            return _torch_dtypes.round_on_device(weights, dtype).reshape(tensor.shape)
    elif isinstance(tensor.codec, Codebook):
        on_cpu = decodes_with_numpy(device)
        look_up_weights = look_up_with_numpy if on_cpu else look_up_on_device
        codebook, codes = _decode.split_codebook(content, tensor.codec, tensor)
        weights = look_up_weights(
            codebook, codes, tensor.codec.width, tensor.count, device=device, dtype=dtype
        )
        return weights.reshape(tensor.shape)
    if not tensor.quantized and dtype == _torch_dtypes.TORCH_ONLY.get(tensor.stored_dtype):
        stored = _dtypes.STORAGE[tensor.stored_dtype]
        bits = np.frombuffer(content, stored).astype(stored.newbyteorder("="))
        return torch.from_numpy(bits).view(dtype).reshape(tensor.shape).to(device)
    if numpy_dtype is not None:
        return torch.from_numpy(_decode.decode(content, tensor, numpy_dtype)).to(device)
    # float64 is rounded once, from its own precision.
    widest = np.dtype(np.float64) if tensor.stored_dtype == "F64" else tensor.dtype
    return _torch_dtypes.round_to(_decode.decode(content, tensor, widest), dtype, device)


def look_up_with_numpy(
    codebook: NDArray[np.float32],
    codes: NDArray[np.uint8],
    width: int,
    count: int,
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Look up the weights of a codebook on the CPU, in a dtype that numpy may lack."""
    # Copied because torch warns about read-only memory; looked up as integers because numpy lacks
    # some of the floating-point dtypes.
    centroids = _torch_dtypes.round_to(codebook.copy(), dtype, device)
    table = centroids.view(_INTEGER_DTYPES[dtype.itemsize]).numpy()
    out = np.empty(count, table.dtype)
    look_up(table, codes, width, out)
    return torch.from_numpy(out).view(dtype)


def look_up_on_device(
    codebook: NDArray[np.float32],
    codes: NDArray[np.uint8],
    width: int,
    count: int,
    *,
    device: torch.device,
    dtype: torch.dtype,
    chunk: int = _CHUNK,
) -> torch.Tensor:
    """Move codes and codebook to the device, and look up the weights there.

    Args:
        codebook: the codebook.
        codes: the bytes of the codes.
        width: bits of a code.
        count: the number of weights.
        device: the device.
        dtype: the dtype of the weights.
        chunk: the number of bytes of codes to look up at a time.

    """
    rows = _torch_dtypes.round_to(centroid_table(codebook, width), dtype, device)
    index = torch.from_numpy(codes.copy()).to(device)
    # As integers, because not every device can look up every floating-point dtype.
    rows = rows.view(_INTEGER_DTYPES[dtype.itemsize])
    out = torch.empty((len(index), rows.shape[1]), dtype=rows.dtype, device=device)
    for start in range(0, len(index), chunk):
        part = slice(start, start + chunk)
        torch.index_select(rows, 0, index[part].int(), out=out[part])
    return out.view(dtype).reshape(-1)[:count]


def has_normal_products(content: Buffer, codec: Codebook) -> bool:
    """Whether no factor and no product of centroids and scales is a subnormal number.

    Some devices replace these by zeros.
    """
    assert codec.slices
    smallest = [
        float(values[values > 0].min(initial=1.0))
        for values in (np.abs(codec.split(content)[0]), codec.slices.read(content))
    ]
    return min(*smallest, smallest[0] * smallest[1]) >= _MIN_NORMAL


def scale_on_device(
    content: Buffer, codec: Codebook, count: int, device: torch.device
) -> torch.Tensor:
    """Look up centroids on a device and multiply them by their scales there, in float32."""
    assert codec.slices
    codebook, codes = codec.split(content)
    weights = look_up_on_device(
        codebook, codes, codec.width, count, device=device, dtype=torch.float32
    )
    scales = torch.from_numpy(codec.slices.read(content)).to(device)
    weights.view(-1, codec.slices.scales, codec.slices.run).mul_(scales[:, None])
    return weights
