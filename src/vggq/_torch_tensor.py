"""The proved content of one entry to a torch tensor, put together on the device it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from . import _conversion, _decode, _dtypes, _load
from ._codecs.codebook import Codebook, weights_of_bytes
from .errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._manifest import TensorInfo
    from ._weights import Weights

# What torch has and numpy lacks.
_OWN: Final = {
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}

_SHARED: Final[dict[torch.dtype, np.dtype[Any]]] = {
    torch.float16: np.dtype(np.float16),
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}

_BITS: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

# Codes are widened to four bytes to index with: so many at a time.
_PIECE: Final = 1 << 22


def choice(dtype: torch.dtype | str | None) -> Callable[[TensorInfo], torch.dtype]:
    """The dtype that the option `dtype` gives each tensor.

    Raises:
        OptionError: it is no floating-point dtype of torch, and not ``"source"``.

    """
    if dtype is None:
        return natural
    if dtype == _conversion.SOURCE:
        return _own
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        expected = f"a floating-point dtype of torch or {_conversion.SOURCE!r}"
        raise OptionError([("dtype", f"is {dtype!r}, expected {expected}")])
    return lambda tensor: dtype if is_floating(tensor) else natural(tensor)


def is_floating(tensor: TensorInfo) -> bool:
    return tensor.source_dtype in _dtypes.FLOATING


def natural(tensor: TensorInfo) -> torch.dtype:
    """The dtype that a tensor has if nothing else is asked for."""
    return torch.from_numpy(np.empty(0, tensor.dtype)).dtype


def _own(tensor: TensorInfo) -> torch.dtype:
    if tensor.source_dtype in _OWN:
        return _OWN[tensor.source_dtype]
    native = _dtypes.STORAGE[tensor.source_dtype].newbyteorder("=")
    return torch.from_numpy(np.empty(0, native)).dtype


def shared(tensor: TensorInfo, dtype: torch.dtype) -> np.dtype[Any] | None:
    """The numpy dtype in which a tensor can be decoded to be of this dtype of torch."""
    if is_floating(tensor):
        return _SHARED.get(dtype)
    return tensor.dtype if dtype == natural(tensor) else None


def restore_all(
    weights: Weights,
    device: torch.device | str | int | None,
    dtype: torch.dtype | str | None,
    threads: int | None,
) -> dict[str, torch.Tensor]:
    """Every tensor by name, as `vggq.torch.load` says."""
    choose = choice(dtype)
    # Resolved here, since each thread has a current device of its own.
    place = torch.empty(0, device="cpu" if device is None else device).device

    def made(name: str, content: bytes) -> torch.Tensor:
        tensor = weights.tensors[name]
        return restore(content, tensor, place, choose(tensor))

    names = list(_load.by_entry(weights).values())
    if decodes_here(place):
        tensors = _load.each(lambda n: made(n, weights.content(n)), names, weights, threads)
        return _load.of_names(weights, tensors)
    # Only the calling thread has the stream that the caller may have chosen.
    contents = _load.each(weights.content, names, weights, threads)
    return _load.of_names(weights, map(made, names, contents))


def decodes_here(device: torch.device) -> bool:
    """Whether numpy decodes what is for the device, rather than the device itself."""
    return bool(device.type == "cpu")


def restore(
    content: bytes, tensor: TensorInfo, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """A fresh tensor on the device, which has an index where it can have one.

    Args:
        content: what `Weights.content` gave.
        tensor: whose content it is.
        device: where it is to be.
        dtype: any floating-point one if the tensor is of floating point; else its natural one.

    """
    array_dtype = shared(tensor, dtype)
    if array_dtype is not None and decodes_here(device):
        return torch.from_numpy(_decode.restore(content, tensor, array_dtype))
    if isinstance(tensor.codec, Codebook):
        return gather(tensor.codec, content, device, dtype)[: tensor.count].reshape(tensor.shape)
    if dtype == _OWN.get(tensor.source_dtype):
        stored = _dtypes.STORAGE[tensor.source_dtype]
        bits = np.frombuffer(content, stored).astype(stored.newbyteorder("="))
        return torch.from_numpy(bits).view(dtype).reshape(tensor.shape).to(device)
    widest = np.dtype(np.float64) if tensor.stored_dtype == "F64" else tensor.dtype
    array = _decode.restore(content, tensor, array_dtype or widest)
    return torch.from_numpy(array).to(device, dtype)


def gather(
    codec: Codebook, content: bytes, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """Look the codes up on the device: of one dimension, with up to seven weights too many."""
    codebook, codes = codec.split(content)
    rows = torch.from_numpy(weights_of_bytes(codebook, codec.width)).to(device, dtype)
    units = torch.from_numpy(codes.copy()).to(device)
    # As whole numbers, since not every device looks up every floating-point dtype.
    rows = rows.view(_BITS[dtype.itemsize])
    out = torch.empty((len(units), rows.shape[1]), dtype=rows.dtype, device=device)
    for start in range(0, len(units), _PIECE):
        piece = slice(start, start + _PIECE)
        torch.index_select(rows, 0, units[piece].int(), out=out[piece])
    return out.view(dtype).reshape(-1)
