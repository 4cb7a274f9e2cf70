"""ONNX models: the initializers of the main graph, with their data inside or in other files.

What `Constant` nodes put out is no initializer, and is passed over; so are the initializers of
subgraphs, the bodies of `If` and `Loop`.
"""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .._dtypes import STORAGE
from .._require import require
from ..errors import SourceError
from ._external import Extent, find_extent, find_file
from ._source import Format, Reading, SourceTensor, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

# The dtype of each of ONNX's types, and the field that lists its values where they are not raw.
_TYPES: Final = {
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
_MOST_DIMENSIONS: Final = 32
_MOST_BYTES: Final = 1 << 48
# A protobuf has no magic number. First comes the version of ONNX's format, 3 or more since ONNX
# 1.0 (a SavedModel of TensorFlow begins with 1), then the key of another field of a model.
_BEGINNING: Final = re.compile(rb"\x08[\x03-\x7f][\x12\x1a\x22\x28\x32\x3a\x42\x72]")


@contextmanager
def _open(path: Path, reading: Reading) -> Iterator[list[SourceTensor]]:
    refuse(path, FORMAT.name, layout=reading.layout, key=reading.key)
    yield [_tensor(path, initializer) for initializer in _initializers(path)]


def external_files(path: Path) -> list[Path]:
    """The other files that have data of a model's tensors, links followed.

    Raises:
        SourceError: the model cannot be read, or names a file that it may not.
        MissingDependencyError: onnx is not installed.

    """
    found = set()
    for initializer in _initializers(path):
        if initializer.data_location == initializer.EXTERNAL:
            with _naming(path, initializer):
                found.add(find_file(path.parent, _facts(initializer).get("location", "")))
    return sorted(found)


def _initializers(path: Path) -> Sequence[Any]:
    onnx = require("onnx", "onnx")
    protobuf = require("google.protobuf.message", "onnx")
    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except (protobuf.DecodeError, OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read as ONNX: {error}") from error
    # Every model names some, and behind the weights: only so is a file known that ends there.
    if not model.opset_import:
        raise SourceError(f"{path} is cut short: it names no operator sets")
    if sparse := [_text(tensor.values.name) for tensor in model.graph.sparse_initializer]:
        raise SourceError(f"{path}: tensor {sparse[0]!r} is sparse, which is not supported")
    initializers: Sequence[Any] = model.graph.initializer
    return initializers


@contextmanager
def _naming(path: Path, initializer: Any) -> Iterator[None]:
    try:
        yield
    except SourceError as error:
        raise SourceError(f"{path}: tensor {_text(initializer.name)!r} {error}") from error


def _tensor(path: Path, initializer: Any) -> SourceTensor:
    with _naming(path, initializer):
        dtype, field = _type(initializer)
        shape = _shape(initializer)
        extent = None
        if initializer.data_location == initializer.EXTERNAL:
            size = math.prod(shape) * STORAGE[dtype].itemsize
            extent = find_extent(path.parent, _facts(initializer), size)
    values = partial(_values, initializer, dtype, field, extent)
    read = partial(_read, path, initializer, shape, values)
    return SourceTensor(_text(initializer.name), dtype, shape, read)


def _type(initializer: Any) -> tuple[str, str]:
    names = type(initializer).DataType
    number = initializer.data_type
    name = names.Name(number) if number in names.values() else f"type {number}"
    dtype, field = _TYPES.get(name, (name, ""))
    if dtype not in STORAGE:
        raise SourceError(f"is of {name}, which is not supported")
    if initializer.HasField("segment"):
        raise SourceError("is a segment of one, which is not supported")
    return dtype, field


def _shape(initializer: Any) -> tuple[int, ...]:
    shape = tuple(initializer.dims)
    # Empty tensors too: numpy makes none that would be too large without its zero.
    most = math.prod(size or 1 for size in shape)
    if len(shape) > _MOST_DIMENSIONS or min(shape, default=0) < 0 or most > _MOST_BYTES:
        raise SourceError(f"has a shape that is none: {list(shape)}")
    return shape


def _facts(initializer: Any) -> dict[str, str]:
    return {_text(entry.key): _text(entry.value) for entry in initializer.external_data}


def _text(value: str | bytes) -> str:
    """A string; protobuf gives one that is not UTF-8 as bytes."""
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def _read(
    path: Path, initializer: Any, shape: tuple[int, ...], values: Callable[[], NDArray[Any]]
) -> NDArray[Any]:
    with _naming(path, initializer):
        flat = values()
        if flat.size != math.prod(shape):
            raise SourceError(f"has {flat.size} values, not the {math.prod(shape)} of its shape")
        return flat.reshape(shape)


def _values(initializer: Any, dtype: str, field: str, extent: Extent | None) -> NDArray[Any]:
    # onnx's own to_array makes other arrays of bfloat16 and float8 from release to release.
    storage = STORAGE[dtype]
    if extent is None and not initializer.HasField("raw_data"):
        listed = np.array(getattr(initializer, field), _FIELDS[field])
        # A float16 is listed by its bits.
        return listed.astype("<u2").view(storage) if dtype == "F16" else listed.astype(storage)
    content = initializer.raw_data if extent is None else extent.read()
    if len(content) % storage.itemsize:
        raise SourceError(f"has {len(content)} bytes of {dtype}, which ends within a value")
    return np.frombuffer(content, storage)


def _matches(head: bytes) -> bool:
    return _BEGINNING.match(head) is not None


FORMAT: Final = Format("onnx", (".onnx",), _matches, _open, "onnx>=1.16")
