"""The tensors of a TFLite model, described as those of a source."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...._dtypes import STORAGE
from ...._json import MAX_DIMENSIONS
from .._gaps import Ranges
from .._places import Place
from .._source import SourceTensor, unsupported_tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ._flatbuffer import FlatFile, Span
    from ._outline import Constant, Outline

_NAMES: Final[tuple[str, ...]] = (
    "FLOAT32", "FLOAT16", "INT32", "UINT8", "INT64", "STRING", "BOOL", "INT16", "COMPLEX64",
    "INT8", "FLOAT64", "COMPLEX128", "UINT64", "RESOURCE", "VARIANT", "UINT32", "UINT16", "INT4",
    "BFLOAT16", "INT2", "UINT4", "FLOAT8_E4M3FN", "FLOAT8_E5M2",
)  # fmt: skip
_DTYPES: Final = {
    "BFLOAT16": "BF16", "BOOL": "BOOL", "COMPLEX64": "C64", "COMPLEX128": "C128",
    "FLOAT16": "F16", "FLOAT32": "F32", "FLOAT64": "F64", "FLOAT8_E4M3FN": "F8_E4M3",
    "FLOAT8_E5M2": "F8_E5M2", "INT16": "I16", "INT32": "I32", "INT64": "I64", "INT8": "I8",
    "UINT16": "U16", "UINT32": "U32", "UINT64": "U64", "UINT8": "U8",
}  # fmt: skip


def describe_tensors(file: FlatFile, outline: Outline) -> list[SourceTensor]:
    """Return the tensors of a model, each buffer once, with the places of their values."""
    fixed = Ranges(span for span in outline.fixed if span[0] < span[1])
    return [_describe(file, fixed, name, users) for name, users in outline.buffers.items()]


def _describe(file: FlatFile, fixed: Ranges, name: str, users: Sequence[Constant]) -> SourceTensor:
    first = users[0]
    problem = next(filter(None, map(_find_problem, users)), None)
    if problem is None and len({_value_type(user) for user in users}) > 1:
        problem = "other tensors use its values in another type"
    if first.values is None or problem is not None:
        problem = problem or "its values are in another file"
        return unsupported_tensor(name, problem, dtype=_label(first))
    dtype = _DTYPES[_label(first)]
    start, stop = first.values
    place = None if fixed.overlap(start, stop) else Place(0, start, stop - start)
    read = partial(_read_values, file, first.values, dtype, first.shape)
    return SourceTensor(name, dtype, first.shape, read, place=place)


def _value_type(constant: Constant) -> tuple[int, int]:
    return constant.type_number, math.prod(constant.shape)


def _find_problem(constant: Constant) -> str | None:
    """Return why a tensor cannot be packed, or None if it can be."""
    label = _label(constant)
    if label not in _DTYPES:
        return f"the dtype {label} is not supported"
    if constant.is_sparse:
        return "sparse tensors are not supported"
    if len(constant.shape) > MAX_DIMENSIONS:
        return f"tensors of more than {MAX_DIMENSIONS} dimensions are not supported"
    if min(constant.shape, default=0) < 0:
        return f"the shape {list(constant.shape)} is invalid"
    if constant.values is None:
        return None
    needed = math.prod(constant.shape) * STORAGE[_DTYPES[label]].itemsize
    found = constant.values[1] - constant.values[0]
    return None if found == needed else f"its shape needs {needed} bytes, but it has {found}"


def _label(constant: Constant) -> str:
    number = constant.type_number
    return _NAMES[number] if 0 <= number < len(_NAMES) else f"number {number}"


def _read_values(file: FlatFile, span: Span, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    return np.frombuffer(file.read(span), STORAGE[dtype]).reshape(shape)
