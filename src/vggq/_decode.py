"""The stored bytes of one tensor to an array, in two steps of which only the first can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _zstd
from .errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._manifest import TensorInfo
    from ._scratch import Buffer, Scratch


def read(frame: Buffer, tensor: TensorInfo, scratch: Scratch | None = None) -> Buffer:
    """Decompress a tensor's entry and prove its content.

    With `scratch` the content may lie in that.

    Raises:
        DataError: the bytes are damaged, or not of the size and form the manifest says.

    """
    try:
        content = _zstd.decompress(frame, tensor.content_size, scratch)
        tensor.codec.check(content, tensor.count, tensor.stored_dtype)
    except ValueError as error:
        raise DataError(f"tensor {tensor.name!r}: {error}") from error
    return content


def restore(content: Buffer, tensor: TensorInfo, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A fresh, writable array of the tensor's shape and of `dtype` from its proved content."""
    values = np.empty(tensor.shape, dtype)
    write(content, tensor, values)
    return values


def write(content: Buffer, tensor: TensorInfo, out: NDArray[Any]) -> None:
    """Restore a tensor from its proved content into an array of its shape.

    Args:
        content: what `read` gave.
        tensor: whose content it is.
        out: writable, of any strides; any floating dtype, or the dtype the tensor is restored as.

    """
    plain = out if out.flags.carray else np.empty(out.shape, out.dtype)
    tensor.codec.write(content, tensor.stored_dtype, plain.reshape(-1))
    if plain is not out:
        out[...] = plain
