"""What an initializer of an ONNX model says of itself, and the values that it has in it.

Every message of an error goes on after the tensor's name.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...._dtypes import STORAGE
from ....errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The dtype of each of ONNX's types, and the field that lists its values where they are not raw.
_TYPES: Final[dict[str, tuple[str, str]]] = {
    "BFLOAT16": ("BF16", "int32_data"),
    "BOOL": ("BOOL", "int32_data"),
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
_FIELDS: Final = {
    "double_data": "f8",
    "float_data": "f4",
    "int32_data": "i4",
    "int64_data": "i8",
    "uint64_data": "u8",
}
# https://onnx.ai/onnx/repo-docs/ExternalData.html
_FACTS: Final = ("location", "offset", "length", "checksum", "basepath")
_MOST_DIMENSIONS: Final = 32
_MOST_VALUES: Final = 1 << 48


def type_of(initializer: Any) -> str:
    """The safetensors name of its dtype.

    Raises:
        SourceError: it has none, or is none that can be stored.

    """
    names = type(initializer).DataType
    number = initializer.data_type
    name: str = names.Name(number) if number in names.values() else f"type {number}"
    dtype, _ = _TYPES.get(name, (name, ""))
    if dtype not in STORAGE:
        raise SourceError(f"is of {name}, which is not supported")
    if initializer.HasField("segment"):
        raise SourceError("is a segment of one, which is not supported")
    return dtype


def shape_of(initializer: Any) -> tuple[int, ...]:
    """Its sizes.

    Raises:
        SourceError: no array can have them.

    """
    shape = tuple(initializer.dims)
    # Empty tensors too: numpy makes none that would be too large without its zero.
    most = math.prod(size or 1 for size in shape)
    if len(shape) > _MOST_DIMENSIONS or min(shape, default=0) < 0 or most > _MOST_VALUES:
        raise SourceError(f"has a shape that is none: {list(shape)}")
    return shape


def facts_of(initializer: Any) -> dict[str, str]:
    """Where its data is, if that is in another file.

    Raises:
        SourceError: it says what is not known, as a damaged one may, and to pass that over would
            give other data; or it has data in itself as well.

    """
    facts = {text(entry.key): text(entry.value) for entry in initializer.external_data}
    if odd := [key for key in facts if key not in _FACTS]:
        raise SourceError(f"says {odd[0]!r} of its data in another file, which is not known")
    if initializer.HasField("raw_data") or any(len(getattr(initializer, f)) for f in _FIELDS):
        raise SourceError("has data in itself, and in another file as well")
    return facts


def text(value: str | bytes) -> str:
    """A string; protobuf gives one that is not UTF-8 as bytes."""
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def from_bytes(content: bytes, dtype: str) -> NDArray[Any]:
    """The values in little-endian bytes.

    Raises:
        SourceError: the last one is not whole.

    """
    if len(content) % STORAGE[dtype].itemsize:
        raise SourceError(f"has {len(content)} bytes of {dtype}, which end within a value")
    return np.frombuffer(content, STORAGE[dtype])


def from_message(initializer: Any, dtype: str) -> NDArray[Any]:
    """The values in the initializer itself, as bytes or as a list.

    onnx's own to_array makes other arrays of bfloat16 and float8 from release to release.

    Raises:
        SourceError: the last one is not whole.

    """
    if initializer.HasField("raw_data"):
        return from_bytes(initializer.raw_data, dtype)
    _, field = _TYPES[type(initializer).DataType.Name(initializer.data_type)]
    listed = np.array(getattr(initializer, field), _FIELDS[field])
    if dtype == "F16":
        # It is listed by its bits.
        return listed.astype("<u2").view(STORAGE[dtype])
    return listed.astype(STORAGE[dtype])
