"""Dtype, shape and values of a tensor of an ONNX model, and the place of the values in its file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...._dtypes import STORAGE
from ...._json import MAX_DIMENSIONS
from ....errors import SourceError
from ._numbers import LENGTH_DELIMITED, VARINT, decode_run, decode_varints
from ._tensor import DOUBLE_DATA, FLOAT_DATA, INT32_DATA, INT64_DATA, UINT64_DATA

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._tensor import Tensor
    from ._wire import Field, Span, WireFile

_NAMES: Final[tuple[str, ...]] = (
    "UNDEFINED", "FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64", "STRING", "BOOL",
    "FLOAT16", "DOUBLE", "UINT32", "UINT64", "COMPLEX64", "COMPLEX128", "BFLOAT16", "FLOAT8E4M3FN",
    "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "UINT4", "INT4", "FLOAT4E2M1", "FLOAT8E8M0",
    "UINT2", "INT2", "FLOAT6E2M3", "FLOAT6E3M2",
)  # fmt: skip
# For each ONNX type: the safetensors name of its dtype, and the number of the field that has the
# values if they are not raw bytes.
_DTYPES: Final[dict[str, tuple[str, int]]] = {
    "BFLOAT16": ("BF16", INT32_DATA),
    "BOOL": ("BOOL", INT32_DATA),
    "COMPLEX64": ("C64", FLOAT_DATA),
    "COMPLEX128": ("C128", DOUBLE_DATA),
    "DOUBLE": ("F64", DOUBLE_DATA),
    "FLOAT": ("F32", FLOAT_DATA),
    "FLOAT16": ("F16", INT32_DATA),
    "FLOAT8E4M3FN": ("F8_E4M3", INT32_DATA),
    "FLOAT8E5M2": ("F8_E5M2", INT32_DATA),
    "INT16": ("I16", INT32_DATA),
    "INT32": ("I32", INT32_DATA),
    "INT64": ("I64", INT64_DATA),
    "INT8": ("I8", INT32_DATA),
    "UINT16": ("U16", INT32_DATA),
    "UINT32": ("U32", UINT64_DATA),
    "UINT64": ("U64", UINT64_DATA),
    "UINT8": ("U8", INT32_DATA),
}
_PLAIN_FIELDS: Final = (FLOAT_DATA, DOUBLE_DATA)
_INTEGER_DTYPES: Final = {INT32_DATA: "<i4", INT64_DATA: "<i8", UINT64_DATA: "<u8"}
_MAX_VALUES: Final = 1 << 48


def find_problem(tensor: Tensor) -> str | None:
    """Return why a tensor cannot be packed, or None if it can be."""
    if label_dtype(tensor) not in _DTYPES:
        return f"the dtype {label_dtype(tensor)} is not supported"
    if len(tensor.dims) > MAX_DIMENSIONS:
        return f"tensors of more than {MAX_DIMENSIONS} dimensions are not supported"
    # Zero sizes do not count: numpy rejects empty arrays that would be too large without them.
    count = math.prod(size or 1 for size in tensor.dims)
    if min(tensor.dims, default=0) < 0 or count > _MAX_VALUES:
        return f"the shape {tensor.dims} is invalid"
    return "segments of tensors are not supported" if tensor.is_segment else None


def label_dtype(tensor: Tensor) -> str:
    """Return ONNX's name of the dtype."""
    number = tensor.data_type
    return _NAMES[number] if 0 <= number < len(_NAMES) else f"number {number}"


def get_dtype(tensor: Tensor) -> str:
    """Return the safetensors name of the dtype of a tensor that has no problem."""
    dtype, _ = _DTYPES[label_dtype(tensor)]
    return dtype


def find_plain_values(tensor: Tensor) -> Span | None:
    """Return the span that has the values of a tensor as an array; None if it has no such span."""
    dtype, number = _DTYPES[label_dtype(tensor)]
    span = tensor.raw_data
    fields = tensor.values.get(number, ())
    if span is None and number in _PLAIN_FIELDS and len(fields) == 1:
        (values,) = fields
        span = (values.start, values.stop) if values.key & 7 == LENGTH_DELIMITED else None
    size = math.prod(tensor.dims) * STORAGE[dtype].itemsize
    return span if span and span[1] - span[0] == size else None


def read_values(file: WireFile, tensor: Tensor) -> NDArray[Any]:
    """Return the values in the model itself, in the tensor's shape.

    Raises:
        SourceError: they do not fit the shape, or cannot be read.

    """
    return shape_values(_read_flat(file, tensor), tensor)


def shape_values(flat: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """Return values in the shape of a tensor.

    Raises:
        SourceError: they do not fit the shape.

    """
    if flat.size != (needed := math.prod(tensor.dims)):
        raise SourceError(f"has {flat.size} values, but its shape needs {needed}")
    return flat.reshape(tensor.dims)


def decode_bytes(content: bytes, dtype: str) -> NDArray[Any]:
    """Return the values in little-endian bytes.

    Raises:
        SourceError: the bytes are not whole values.

    """
    itemsize = STORAGE[dtype].itemsize
    if len(content) % itemsize:
        raise SourceError(
            f"has {len(content)} bytes, which is not a multiple of {itemsize}, the size of {dtype}"
        )
    return np.frombuffer(content, STORAGE[dtype])


def _read_flat(file: WireFile, tensor: Tensor) -> NDArray[Any]:
    dtype, number = _DTYPES[label_dtype(tensor)]
    if tensor.raw_data is not None:
        return decode_bytes(file.read(tensor.raw_data), dtype)
    fields = tensor.values.get(number, ())
    if number in _PLAIN_FIELDS:
        # Complex numbers are pairs of a real and an imaginary part.
        return decode_bytes(b"".join(_read_plain(file, field) for field in fields), dtype)
    integers = [_read_integers(file, field) for field in fields]
    values = np.concatenate([np.zeros(0, np.uint64), *integers]).astype(_INTEGER_DTYPES[number])
    if dtype == "F16":
        # The integers are the bits of the values.
        return values.astype("<u2").view(STORAGE[dtype])
    return values.astype(STORAGE[dtype])


def _read_plain(file: WireFile, field: Field) -> bytes:
    content = file.read((field.start, field.stop))
    return content if field.key & 7 == LENGTH_DELIMITED else decode_run(content, field.key)


def _read_integers(file: WireFile, field: Field) -> NDArray[np.uint64]:
    numbers = decode_varints(file.read((field.start, field.stop)))
    # Keys and numbers alternate in a run.
    return numbers[1::2] if field.key & 7 == VARINT else numbers
