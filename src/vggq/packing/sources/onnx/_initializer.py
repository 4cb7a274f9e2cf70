"""Dtype, shape and values of an initializer (TensorProto) of an ONNX model.

Most functions take an initializer and raise SourceError if a part of it is invalid.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...._dtypes import STORAGE
from ...._json import MAX_DIMENSIONS
from ....errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# For each ONNX type: the safetensors name of its dtype, and the field of values if not raw bytes.
_ONNX_TYPES: Final[dict[str, tuple[str, str]]] = {
    "BFLOAT16": ("BF16", "int32_data"),
    "BOOL": ("BOOL", "int32_data"),
    "COMPLEX64": ("C64", "float_data"),
    "COMPLEX128": ("C128", "double_data"),
    "DOUBLE": ("F64", "double_data"),
    "FLOAT": ("F32", "float_data"),
    "FLOAT16": ("F16", "int32_data"),
    "FLOAT8E4M3FN": ("F8_E4M3", "int32_data"),
    "FLOAT8E5M2": ("F8_E5M2", "int32_data"),
    "INT16": ("I16", "int32_data"),
    "INT32": ("I32", "int32_data"),
    "INT64": ("I64", "int64_data"),
    "INT8": ("I8", "int32_data"),
    "UINT16": ("U16", "int32_data"),
    "UINT32": ("U32", "uint64_data"),
    "UINT64": ("U64", "uint64_data"),
    "UINT8": ("U8", "int32_data"),
}
_FIELD_DTYPES: Final = {
    "double_data": "<f8",
    "float_data": "<f4",
    "int32_data": "<i4",
    "int64_data": "<i8",
    "uint64_data": "<u8",
}
_EXTERNAL_DATA_KEYS: Final = ("location", "offset", "length", "checksum", "basepath")
_MAX_VALUES: Final = 1 << 48


def dtype_label(initializer: Any) -> str:
    """Return ONNX's name of the dtype."""
    types = type(initializer).DataType
    number = initializer.data_type
    name: str = types.Name(number) if number in types.values() else f"number {number}"
    return name


def find_initializer_problem(initializer: Any) -> str | None:
    """Return why an initializer cannot be packed, or None if it can be."""
    name = dtype_label(initializer)
    if name not in _ONNX_TYPES or _ONNX_TYPES[name][0] not in STORAGE:
        return f"the dtype {name} is not supported"
    if len(initializer.dims) > MAX_DIMENSIONS:
        return f"tensors of more than {MAX_DIMENSIONS} dimensions are not supported"
    return "segments of tensors are not supported" if initializer.HasField("segment") else None


def get_dtype(initializer: Any) -> str:
    """Return the safetensors name of the dtype of an initializer that has no problem."""
    dtype, _ = _ONNX_TYPES[dtype_label(initializer)]
    return dtype


def get_shape(initializer: Any) -> tuple[int, ...]:
    """Return the shape."""
    shape = tuple(initializer.dims)
    # Zero sizes do not count: numpy rejects empty arrays that would be too large without them.
    count = math.prod(size or 1 for size in shape)
    if min(shape, default=0) < 0 or count > _MAX_VALUES:
        raise SourceError(f"the shape {list(shape)} is invalid")
    return shape


def get_external_data(initializer: Any) -> dict[str, str]:
    """Return the entries that say which bytes of which file are the values.

    An unknown key is an error: it may be a damaged "offset", without which other bytes would be
    read.
    """
    entries = {to_text(entry.key): to_text(entry.value) for entry in initializer.external_data}
    if unknown := [key for key in entries if key not in _EXTERNAL_DATA_KEYS]:
        raise SourceError(f"its external data has the unknown key {unknown[0]!r}")
    if initializer.HasField("raw_data") or any(len(getattr(initializer, f)) for f in _FIELD_DTYPES):
        raise SourceError("has values both in the model and in external data")
    return entries


def to_text(value: str | bytes) -> str:
    """Return a string; protobuf gives bytes for a string that is not UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def decode_bytes(content: bytes, dtype: str) -> NDArray[Any]:
    """Return the values in little-endian bytes."""
    itemsize = STORAGE[dtype].itemsize
    if len(content) % itemsize:
        raise SourceError(
            f"has {len(content)} bytes, which is not a multiple of {itemsize}, the size of {dtype}"
        )
    return np.frombuffer(content, STORAGE[dtype])


def decode_values(initializer: Any, dtype: str) -> NDArray[Any]:
    """Return the values in the initializer itself, stored as raw bytes or as a list.

    `onnx.numpy_helper.to_array` returns bfloat16 and float8 as different dtypes from release to
    release.
    """
    if initializer.HasField("raw_data"):
        return decode_bytes(initializer.raw_data, dtype)
    _, field = _ONNX_TYPES[type(initializer).DataType.Name(initializer.data_type)]
    values = np.array(getattr(initializer, field), _FIELD_DTYPES[field])
    if dtype == "F16":
        # The integers are the bits of the values.
        return values.astype("<u2").view(STORAGE[dtype])
    if STORAGE[dtype].kind == "c":
        # Pairs of a real and an imaginary part.
        return decode_bytes(values.tobytes(), dtype)
    return values.astype(STORAGE[dtype])
