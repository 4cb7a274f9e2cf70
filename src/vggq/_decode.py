"""Decode the stored bytes of one tensor, in two steps of which only the first can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _zstd
from .errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._buffers import Buffer, Buffers
    from ._manifest import TensorInfo


def decompress_entry(frame: Buffer, tensor: TensorInfo, buffers: Buffers | None = None) -> Buffer:
    """Decompress the entry of a tensor and validate its content.

    Args:
        frame: the bytes of the entry.
        tensor: the manifest's description of the tensor.
        buffers: if given, the content may be a view of one of these buffers.

    Raises:
        DataError: the bytes are damaged, or do not match the manifest.

    """
    try:
        content = _zstd.decompress(frame, tensor.content_size, buffers)
        with np.errstate(all="ignore"):
            tensor.codec.validate(content, tensor.count)
    except ValueError as error:
        raise DataError(str(error), tensor=tensor.name) from error
    return content


def decode(content: Buffer, tensor: TensorInfo, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a new array of the tensor's shape and of `dtype` from its validated content."""
    values = np.empty(tensor.shape, dtype)
    decode_into(content, tensor, values)
    return values


def decode_into(content: Buffer, tensor: TensorInfo, out: NDArray[Any]) -> None:
    """Restore a tensor from its validated content into an array of its shape.

    Args:
        content: a result of `decompress_entry`.
        tensor: the manifest's description of the tensor.
        out: a writable array of any strides; of any floating-point dtype, or of the dtype that
            the tensor is restored as.

    """
    flat = out if out.flags.carray else np.empty(out.shape, out.dtype)
    # The caller's settings may turn rounding into errors, and differ among threads.
    with np.errstate(all="ignore"):
        tensor.codec.decode_into(content, flat.reshape(-1))
    if flat is not out:
        out[...] = flat
