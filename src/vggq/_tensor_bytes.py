"""The bytes of a tensor in a model: its elements in the source's dtype, in C order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._codecs._look_up import look_up
from ._decode import find_plain_codebook, split_codebook
from ._dtypes import STORAGE
from ._narrow_floats import round_to_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._buffers import Buffer
    from ._codecs.codebook import Codebook
    from ._manifest import TensorInfo


def tensor_bytes(content: Buffer, tensor: TensorInfo) -> Buffer:
    """Return the bytes of a tensor from its validated content.

    Those of a tensor that is stored exactly are the content itself. Otherwise the memory is new; at
    its largest it has the size of the tensor, or of the tensor in float32.
    """
    if not tensor.quantized:
        return content
    if _is_rounded_from_float32(tensor):
        # The bits are written to the beginning of the memory of the values.
        values = np.empty(tensor.count, np.float32)
        out = values.view(np.uint8).data[: tensor.source_size]
        _round_into(content, tensor, values, out)
        return out
    out = np.empty(tensor.source_size, np.uint8).data
    write_tensor(content, tensor, out)
    return out


def write_tensor(content: Buffer, tensor: TensorInfo, out: memoryview) -> None:
    """Write the bytes of a quantized tensor from its validated content.

    No temporary memory is as large as the tensor, except in BF16 and F8 for a grid or scales, whose
    values are rounded from an array of float32.

    Args:
        content: a result of `decompress_entry`.
        tensor: the manifest's description of the tensor.
        out: writable memory of the tensor's size, of any alignment.

    """
    with np.errstate(all="ignore"):
        if codec := find_plain_codebook(tensor):
            _write_centroids(content, codec, tensor, out)
        elif _is_rounded_from_float32(tensor):
            _round_into(content, tensor, np.empty(tensor.count, np.float32), out)
        else:
            tensor.codec.decode_into(content, np.frombuffer(out, STORAGE[tensor.source_dtype]))


def unrounded_size(tensor: TensorInfo) -> int:
    """Return the bytes of the array of float32 that the values are rounded from; 0 if none is."""
    is_rounded = tensor.quantized and _is_rounded_from_float32(tensor)
    return tensor.count * np.dtype(np.float32).itemsize if is_rounded else 0


def _is_rounded_from_float32(tensor: TensorInfo) -> bool:
    """Whether the source has a dtype that numpy lacks and the codec cannot decode to its bits."""
    is_foreign = STORAGE[tensor.source_dtype].kind != "f"
    return is_foreign and find_plain_codebook(tensor) is None


def _round_into(
    content: Buffer, tensor: TensorInfo, values: NDArray[np.float32], out: memoryview
) -> None:
    with np.errstate(all="ignore"):
        tensor.codec.decode_into(content, values)
    name = tensor.source_dtype
    round_to_bits(values, name, np.frombuffer(out, STORAGE[name]))


def _write_centroids(content: Buffer, codec: Codebook, tensor: TensorInfo, out: memoryview) -> None:
    codebook, codes = split_codebook(content, codec, tensor)
    table = _elements(codebook, tensor.source_dtype)
    # numpy copies elements of no type without regard to their alignment.
    untyped = np.dtype(f"V{table.itemsize}")
    look_up(table.view(untyped), codes, codec.width, np.frombuffer(out, untyped))


def _elements(values: NDArray[np.float32], name: str) -> NDArray[Any]:
    """Return values in the storage dtype of a floating-point dtype."""
    storage = STORAGE[name]
    if name in {"F32", "F64"}:
        return values.astype(storage)
    bits = np.empty(values.shape, np.dtype(f"<u{storage.itemsize}"))
    round_to_bits(values, name, bits)
    return bits
