"""The stored bytes of one tensor to an array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _zstd
from .errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._manifest import TensorInfo


def decode(frame: bytes, tensor: TensorInfo) -> NDArray[Any]:
    """Restore a tensor from its entry's bytes: a fresh, writable array of its shape and dtype.

    Raises:
        DataError: the bytes are damaged, or not of the size and form the manifest says.

    """
    try:
        content = _zstd.decompress(frame, tensor.content_size)
        values = tensor.codec.decode(content, tensor.count, tensor.stored_dtype)
    except ValueError as error:
        raise DataError(f"tensor {tensor.name!r}: {error}") from error
    return values.reshape(tensor.shape)
