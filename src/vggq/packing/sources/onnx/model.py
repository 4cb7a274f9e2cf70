"""ONNX models: the initializers of the main graph, with values in the model or in other files.

Other tensors of a model are not read. Those as large as weights need `drop`; the smaller ones are
named in a remark.
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
from .._remarks import remark_unpacked
from .._source import (
    Contents,
    Format,
    ReadOptions,
    SourceTensor,
    reject_options,
    unsupported_tensor,
)
from ._external import Extent, find_data_file, find_extent
from ._graph import OtherTensor, find_other_tensors
from ._initializer import (
    decode_bytes,
    decode_values,
    dtype_label,
    find_initializer_problem,
    get_dtype,
    get_external_data,
    get_shape,
    to_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

# protobuf has no magic number. A model starts with ONNX's format version, 3 or more since ONNX 1.0
# (a SavedModel of TensorFlow starts with 1), then the key of another field.
_MODEL_START: Final = re.compile(rb"\x08[\x03-\x7f][\x12\x1a\x22\x28\x32\x3a\x42\x72]")


@contextmanager
def _open(path: Path, read_options: ReadOptions) -> Iterator[Contents]:
    reject_options(FORMAT.name, layout=read_options.layout, key=read_options.key)
    model = _load_model(path)
    tensors = [_describe_initializer(path, item) for item in model.graph.initializer]
    others = list(find_other_tensors(model))
    tensors += [_describe_other(other) for other in others if other.is_weight]
    yield Contents(tensors, remarks=_remark_leftovers(model, others))


def _remark_leftovers(model: Any, others: Iterable[OtherTensor]) -> tuple[str, ...]:
    """Return the remark on what is not packed."""
    nodes = len(model.graph.node)
    return remark_unpacked(
        {
            f"graph of {nodes} nodes": [to_text(model.graph.name)] if nodes else [],
            "small tensors of its nodes": [other.name for other in others if not other.is_weight],
            "functions": [to_text(function.name) for function in model.functions],
            "metadata": [to_text(entry.key) for entry in model.metadata_props],
        }
    )


def _describe_other(other: OtherTensor) -> SourceTensor:
    problem = f"{other.place}, and only dense initializers of the main graph can be packed"
    return unsupported_tensor(other.name, problem, dtype=other.dtype, shape=other.shape)


def _list_files(path: Path) -> list[Path]:
    """Return the model, and the other files with values of its tensors."""
    model = _load_model(path)
    protos = [other.proto for other in find_other_tensors(model) if other.proto is not None]
    files = set()
    for proto in (*model.graph.initializer, *protos):
        if proto.data_location == proto.EXTERNAL:
            with _name_tensor(proto):
                location = get_external_data(proto).get("location", "")
                find_data_file(path.parent, location)
                files.add(path.parent / location)
    return [path, *sorted(files)]


def _load_model(path: Path) -> Any:
    onnx = require("onnx", "onnx")
    protobuf = require("google.protobuf.message", "onnx")
    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except (protobuf.DecodeError, OSError, ValueError) as error:
        raise SourceError(f"cannot be read as ONNX: {error}") from error
    # Every model names its operator sets after the weights, so a truncated model lacks them.
    if not model.opset_import:
        raise SourceError("truncated: the model names no operator sets")
    return model


@contextmanager
def _name_tensor(initializer: Any) -> Iterator[None]:
    """Add the name of the initializer to errors."""
    try:
        yield
    except SourceError as error:
        error.locate(tensor=to_text(initializer.name))
        raise


def _describe_initializer(path: Path, initializer: Any) -> SourceTensor:
    name, extent = to_text(initializer.name), None
    if problem := find_initializer_problem(initializer):
        return unsupported_tensor(name, problem, dtype=dtype_label(initializer))
    with _name_tensor(initializer):
        dtype, shape = get_dtype(initializer), get_shape(initializer)
        if initializer.data_location == initializer.EXTERNAL:
            size = math.prod(shape) * STORAGE[dtype].itemsize
            extent = find_extent(path.parent, get_external_data(initializer), size)
    read = partial(_read_initializer, initializer, dtype, extent)
    return SourceTensor(name, dtype, shape, read)


def _read_initializer(initializer: Any, dtype: str, extent: Extent | None) -> NDArray[Any]:
    shape = get_shape(initializer)
    flat = decode_bytes(extent.read(), dtype) if extent else decode_values(initializer, dtype)
    if flat.size != math.prod(shape):
        raise SourceError(f"has {flat.size} values, but its shape needs {math.prod(shape)}")
    return flat.reshape(shape)


def _matches(head: bytes) -> bool:
    return _MODEL_START.match(head) is not None


FORMAT: Final = Format("onnx", (".onnx",), _matches, _open, "onnx>=1.19", _list_files)
