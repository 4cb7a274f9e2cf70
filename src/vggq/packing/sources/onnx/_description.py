"""The tensors of an ONNX model, described as those of a source."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ...._dtypes import STORAGE
from .._gaps import Ranges
from .._places import Place
from .._source import SourceTensor, unsupported_tensor
from ._values import (
    decode_bytes,
    find_plain_values,
    find_problem,
    get_dtype,
    label_dtype,
    read_values,
    shape_values,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from ._data_files import DataFiles, Extent
    from ._tensor import Tensor
    from ._wire import WireFile


def describe_tensors(
    file: WireFile, data_files: DataFiles, tensors: Mapping[str, Tensor]
) -> list[SourceTensor]:
    """Return the tensors of a model, with the places of their values.

    Raises:
        SourceError: the data file of a tensor does not have its values.

    """
    described = [
        _describe_tensor(file, data_files, name, tensor) for name, tensor in tensors.items()
    ]
    # Tensors without a place are kept exactly, so no other tensor may change their bytes.
    fixed = [
        data_files.find_occupied(tensor.name)
        for tensor in described
        if tensors[tensor.name].is_external and tensor.place is None
    ]
    return _clear_places(described, fixed)


def _describe_tensor(
    file: WireFile, data_files: DataFiles, name: str, tensor: Tensor
) -> SourceTensor:
    problem = find_problem(tensor)
    if problem is None and tensor.is_external:
        problem = data_files.find_problem(name, tensor)
    if problem is not None:
        return unsupported_tensor(name, problem, dtype=label_dtype(tensor))
    dtype, shape = get_dtype(tensor), tuple(tensor.dims)
    if not tensor.is_external:
        place = _find_internal_place(tensor)
        return SourceTensor(name, dtype, shape, partial(read_values, file, tensor), place=place)
    extent = data_files.find_extent(name, math.prod(shape) * STORAGE[dtype].itemsize)
    # In the model itself, it would be a range that the model uses for something else as well.
    is_place = extent.place.member and extent.place.size and data_files.may_change(name)
    place = extent.place if is_place else None
    return SourceTensor(name, dtype, shape, partial(_read_external, extent, tensor), place=place)


def _find_internal_place(tensor: Tensor) -> Place | None:
    span = find_plain_values(tensor)
    if span is None or span[0] == span[1]:
        return None
    return Place(0, span[0], span[1] - span[0])


def _read_external(extent: Extent, tensor: Tensor) -> NDArray[Any]:
    return shape_values(decode_bytes(extent.read(), get_dtype(tensor)), tensor)


def _clear_places(tensors: Iterable[SourceTensor], fixed: Iterable[Place]) -> list[SourceTensor]:
    """Return the tensors without the places that overlap ranges which must not change."""
    bounds = defaultdict(list)
    for place in fixed:
        bounds[place.member].append((place.start, place.start + place.size))
    ranges = {member: Ranges(pairs) for member, pairs in bounds.items()}

    def is_free(place: Place) -> bool:
        found = ranges.get(place.member)
        return not found or not found.overlap(place.start, place.start + place.size)

    return [
        tensor if tensor.place is None or is_free(tensor.place) else replace(tensor, place=None)
        for tensor in tensors
    ]
