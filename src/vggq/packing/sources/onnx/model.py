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

from ...._dtypes import STORAGE
from ....errors import SourceError
from ...optional import require
from .._source import Contents, Format, ReadOptions, SourceTensor, refuse
from ._external import Extent, find_extent, find_file
from ._tensor import facts_of, from_bytes, from_message, shape_of, text, type_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

# A protobuf has no magic number. First comes the version of ONNX's format, 3 or more since ONNX
# 1.0 (a SavedModel of TensorFlow begins with 1), then the key of another field of a model.
_BEGINNING: Final = re.compile(rb"\x08[\x03-\x7f][\x12\x1a\x22\x28\x32\x3a\x42\x72]")


@contextmanager
def _open(path: Path, reading: ReadOptions) -> Iterator[Contents]:
    refuse(path, FORMAT.name, layout=reading.layout, key=reading.key)
    yield Contents([_tensor(path, initializer) for initializer in _initializers(path)])


def _files(path: Path) -> list[Path]:
    """The model, and the other files that have data of its tensors.

    Raises:
        SourceError: the model cannot be read, or names a file that it may not.
        MissingDependencyError: onnx is not installed.

    """
    found = set()
    for initializer in _initializers(path):
        if initializer.data_location == initializer.EXTERNAL:
            with _naming(path, initializer):
                location = facts_of(initializer).get("location", "")
                find_file(path.parent, location)
                found.add(path.parent / location)
    return [path, *sorted(found)]


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
    if sparse := [text(tensor.values.name) for tensor in model.graph.sparse_initializer]:
        raise SourceError(f"{path}: tensor {sparse[0]!r} is sparse, which is not supported")
    initializers: Sequence[Any] = model.graph.initializer
    return initializers


@contextmanager
def _naming(path: Path, initializer: Any) -> Iterator[None]:
    try:
        yield
    except SourceError as error:
        raise SourceError(f"{path}: tensor {text(initializer.name)!r} {error}") from error


def _tensor(path: Path, initializer: Any) -> SourceTensor:
    with _naming(path, initializer):
        dtype, shape = type_of(initializer), shape_of(initializer)
        extent = None
        if initializer.data_location == initializer.EXTERNAL:
            size = math.prod(shape) * STORAGE[dtype].itemsize
            extent = find_extent(path.parent, facts_of(initializer), size)
    read = partial(_read, path, initializer, dtype, extent)
    return SourceTensor(text(initializer.name), dtype, shape, read)


def _read(path: Path, initializer: Any, dtype: str, extent: Extent | None) -> NDArray[Any]:
    with _naming(path, initializer):
        shape = shape_of(initializer)
        flat = from_bytes(extent.read(), dtype) if extent else from_message(initializer, dtype)
        if flat.size != math.prod(shape):
            raise SourceError(f"has {flat.size} values, not the {math.prod(shape)} of its shape")
        return flat.reshape(shape)


def _matches(head: bytes) -> bool:
    return _BEGINNING.match(head) is not None


FORMAT: Final = Format("onnx", (".onnx",), _matches, _open, "onnx>=1.19", _files)
