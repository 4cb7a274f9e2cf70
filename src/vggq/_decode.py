"""Decode the stored bytes of one tensor.

`restore_entry` does so at once. Or `decompress_entry` finds all damage, and then `decode` and
`decode_into` cannot fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from . import _huge_pages, _zstd
from ._buffers import Target
from ._codecs._look_up import look_up
from ._codecs.codebook import Codebook
from ._dtypes import ML_DTYPES, STORAGE, convert_into
from ._narrow_floats import round_in_place
from ._rounding import round_into
from .errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._buffers import Buffer, Memory
    from ._manifest import TensorInfo

# Smaller content stays in the cache in memory that is reused.
_MIN_PLACED: Final = 1 << 22


def decompress_entry(frame: Buffer, tensor: TensorInfo, buffers: Memory | None = None) -> Buffer:
    """Decompress the entry of a tensor and validate its content.

    Args:
        frame: the bytes of the entry.
        tensor: the manifest's description of the tensor.
        buffers: if given, the content may be a view of this memory.

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


def restore_entry(
    frame: Buffer, tensor: TensorInfo, out: NDArray[Any], buffers: Memory | None
) -> None:
    """Decompress the entry of a tensor, validate its content, and decode it into a new array.

    Args:
        frame: the bytes of the entry.
        tensor: the manifest's description of the tensor.
        out: a contiguous array of the tensor's shape, whose content does not matter.
        buffers: memory for the content.

    Raises:
        DataError: the bytes are damaged, or do not match the manifest.

    """
    codec = tensor.codec
    place = None if codec.VALIDATES else place_in(out, tensor)
    try:
        content = _zstd.decompress(frame, tensor.content_size, place or buffers)
        if find_plain_codebook(tensor) and not tensor.rounded:
            # Codes are looked up. numpy's error settings, which take long to change, do not matter.
            codec.validate(content, tensor.count)
            codec.decode_into(content, out.reshape(-1))
            return
        with np.errstate(all="ignore"):
            if not codec.VALIDATES:
                codec.validate(content, tensor.count)
            # Raw content that was decompressed into the array is not decoded.
            if place is None or tensor.quantized or not isinstance(content, memoryview):
                _decode_flat(content, tensor, out.reshape(-1))
    except ValueError as error:
        raise DataError(str(error), tensor=tensor.name) from error


def decode(content: Buffer, tensor: TensorInfo, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a new array of the tensor's shape and of `dtype` from its validated content."""
    values = _huge_pages.empty(tensor.shape, dtype)
    decode_into(content, tensor, values)
    return values


def decode_into(content: Buffer, tensor: TensorInfo, out: NDArray[Any]) -> None:
    """Restore a tensor from its content into an array of its shape.

    Args:
        content: a result of `decompress_entry`; if the codec validates what it decodes, any content
            of the right size.
        tensor: the manifest's description of the tensor.
        out: a writable array of any strides; of any floating-point dtype, or of the dtype that
            the tensor is restored as.

    Raises:
        ValueError: the content was not validated, and is damaged; nothing was written.

    """
    flat = out if out.flags.carray else np.empty(out.shape, out.dtype)
    # The caller's settings may turn rounding into errors, and differ among threads.
    with np.errstate(all="ignore"):
        _decode_flat(content, tensor, flat.reshape(-1))
    if flat is not out:
        out[...] = flat


def _decode_flat(content: Buffer, tensor: TensorInfo, out: NDArray[Any]) -> None:
    """Restore a tensor into a contiguous one-dimensional array."""
    if tensor.rounded:
        _decode_rounded(content, tensor, out)
    else:
        tensor.codec.decode_into(content, out)


def _decode_rounded(content: Buffer, tensor: TensorInfo, out: NDArray[Any]) -> None:
    """Round the weights to the stored dtype of the tensor, and those to the dtype of `out`."""
    if out.dtype.name == ML_DTYPES.get(tensor.stored_dtype, "float16"):
        tensor.codec.decode_into(content, out)
    elif codec := find_plain_codebook(tensor):
        codebook, codes = split_codebook(content, codec, tensor)
        rounded = np.empty(codebook.shape, out.dtype)
        round_into(codebook, rounded)
        bits = np.dtype(f"u{out.itemsize}")
        look_up(rounded.view(bits), codes, codec.width, out.view(bits))
    else:
        values = out if out.itemsize >= 4 else np.empty(out.shape, np.float32)
        tensor.codec.decode_into(content, values)
        round_in_place(values, tensor.stored_dtype)
        if values is not out:
            convert_into(values, "F32", out)


def place_in(values: NDArray[Any], tensor: TensorInfo) -> Target | None:
    """Return the part of a new array that the large content of its tensor can be decompressed into.

    Raw content of the same dtype is the array. Codes are looked up from the first to the last, and
    the weights before a code never reach it if the codes are at the end.

    Args:
        values: a contiguous array of the tensor's shape.
        tensor: the manifest's description of the tensor.

    Returns:
        The part; None if no part can be used, or if the content is small enough to stay in the
        cache.

    """
    if values.nbytes < _MIN_PLACED:
        return None
    size = tensor.content_size
    is_stored = not tensor.quantized and values.dtype == STORAGE[tensor.stored_dtype]
    if not (is_stored or isinstance(tensor.codec, Codebook)):
        return None
    if not _MIN_PLACED <= size <= values.nbytes:
        return None
    return Target(values.reshape(-1).view(np.uint8).data[values.nbytes - size :])


def find_plain_codebook(tensor: TensorInfo) -> Codebook | None:
    """Return the codec of a tensor whose weights are centroids; None if they are not only these."""
    codec = tensor.codec
    return codec if isinstance(codec, Codebook) and not codec.slices else None


def split_codebook(
    content: Buffer, codec: Codebook, tensor: TensorInfo
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the codebook of a tensor, rounded to its stored dtype, and the bytes of the codes.

    The codec is one without scales.
    """
    codebook, codes = codec.split(content)
    if tensor.rounded:
        codebook = codebook.copy()
        round_in_place(codebook, tensor.stored_dtype)
    return codebook, codes
