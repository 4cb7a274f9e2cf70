"""All tensors of a torch file, with the ranges of the file that hold their bytes."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ...._dtypes import STORAGE
from .._places import Place
from ._named_tensors import list_tensors, make_valid_names
from ._objects import DeviceTensor, Storage, Tensor
from ._rebuild import is_old_tensor, rebuild_old_tensor
from ._tensors import StorageReader, describe_tensor, end_index

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .._source import SourceTensor

_IN_PICKLE: Final = "its values are in the pickle"
_NOT_PLAIN: Final = "the file does not hold it uncompressed and in little-endian byte order"
_CONJUGATED: Final = "the file holds the complex conjugates of its values"
_STRIDED: Final = "its elements are not in C order in the file"
_OVERLAPS: Final = "it shares bytes with a tensor of another dtype, shape or size"


@dataclass(frozen=True, slots=True)
class Graph:
    """An unpickled object and the storages of its tensors.

    Attributes:
        prefix: first part of the names of its tensors; may be empty.
        root: the object.
        storages: the storages.

    """

    prefix: str
    root: Any
    storages: StorageReader


@dataclass(frozen=True, slots=True)
class _Claim:
    """The range of the file from a tensor's first byte to its last.

    Attributes:
        index: the tensor's index in the list of all tensors.
        start: the offset of the first byte.
        end: the offset after the last byte.
        dtype: the dtype of the elements; None for bytes without a dtype.
        shape: the shape.
        problem: why the range does not hold exactly the tensor's bytes; None if it does.

    """

    index: int
    start: int
    end: int
    dtype: str | None
    shape: tuple[int, ...]
    problem: str | None


def find_model_tensors(graphs: Iterable[Graph]) -> list[SourceTensor]:
    """Return all tensors, each with its place or with the reason why it has no place.

    Raises:
        SourceError: a tensor reaches beyond its storage, or containers are nested too often.

    """
    found = [
        (name, _unwrap(value), graph.storages)
        for graph in graphs
        for name, value in list_tensors(graph.root, graph.prefix)
    ]
    names = make_valid_names(name for name, _, _ in found)
    tensors = [
        describe_tensor(name, value, storages)
        for name, (_, value, storages) in zip(names, found, strict=True)
    ]
    claims = [
        claim
        for index, (_, value, storages) in enumerate(found)
        if (claim := _find_claim(index, value, storages)) is not None
    ]
    chosen = _choose(claims)
    problems = {claim.index: claim.problem or _OVERLAPS for claim in claims}
    return [
        _locate(tensor, chosen.get(index), problems.get(index, _default_problem(found[index][1])))
        for index, tensor in enumerate(tensors)
    ]


def _locate(tensor: SourceTensor, claim: _Claim | None, problem: str) -> SourceTensor:
    if tensor.problem is not None or not tensor.count:
        return tensor
    if claim is None:
        return replace(tensor, problem=problem)
    return replace(tensor, place=Place(0, claim.start, claim.end - claim.start))


def _default_problem(value: Any) -> str:
    return _NOT_PLAIN if isinstance(value, Tensor) else _IN_PICKLE


def _unwrap(value: Any) -> Any:
    """Return the tensor as the file has it, without the dtype of a device."""
    if is_old_tensor(value):
        return rebuild_old_tensor(value)
    return value.data if isinstance(value, DeviceTensor) else value


def _find_claim(index: int, value: Any, storages: StorageReader) -> _Claim | None:
    """Return the range of a tensor or a storage; None if it has none."""
    storage = value.storage if isinstance(value, Tensor) else value
    if not isinstance(storage, Storage) or (start := storages.locate(storage)) is None:
        return None
    if not isinstance(value, Tensor) or value.dtype not in STORAGE:
        dtype = value.dtype if isinstance(value, Tensor) else storage.kind.dtype
        return _Claim(index, start, start + storage.size, dtype, (), _NOT_PLAIN)
    if 0 in value.shape:
        return None
    itemsize = STORAGE[value.dtype].itemsize
    first, end = start + value.offset * itemsize, start + end_index(value) * itemsize
    problem = _find_problem(value, storages)
    return _Claim(index, first, end, value.dtype, value.shape, problem)


def _find_problem(tensor: Tensor, storages: StorageReader) -> str | None:
    if storages.byte_order != "<":
        return _NOT_PLAIN
    if tensor.conjugated:
        return _CONJUGATED
    return None if _is_c_contiguous(tensor) else _STRIDED


def _is_c_contiguous(tensor: Tensor) -> bool:
    expected = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def _choose(claims: Sequence[_Claim]) -> dict[int, _Claim]:
    """Return the claims that become places, by the index of their tensors.

    Ranges that overlap are of one tensor and its views: the largest one becomes a place. Views of
    another dtype rule that out, because they would change.
    """
    chosen: dict[int, _Claim] = {}
    for group in _group_overlapping(claims):
        if len({claim.dtype for claim in group}) == 1:
            chosen |= _choose_largest(group)
    return chosen


def _group_overlapping(claims: Iterable[_Claim]) -> Iterator[list[_Claim]]:
    group: list[_Claim] = []
    end = 0
    for claim in sorted(claims, key=lambda claim: (claim.start, claim.index)):
        if group and claim.start >= end:
            yield group
            group = []
        group.append(claim)
        end = max(end, claim.end)
    if group:
        yield group


def _choose_largest(group: Iterable[_Claim]) -> dict[int, _Claim]:
    """Return the largest of overlapping claims, those with the same range, and others beside it."""
    chosen: dict[int, _Claim] = {}
    ranges: list[tuple[int, int]] = []
    shapes: dict[tuple[int, int], tuple[int, ...]] = {}
    exact = [claim for claim in group if claim.problem is None]
    for claim in sorted(exact, key=lambda claim: (claim.start - claim.end, claim.index)):
        key = (claim.start, claim.end)
        if key in shapes:
            is_free = shapes[key] == claim.shape
        elif is_free := _is_free(claim, ranges):
            insort(ranges, key)
            shapes[key] = claim.shape
        if is_free:
            chosen[claim.index] = claim
    return chosen


def _is_free(claim: _Claim, ranges: Sequence[tuple[int, int]]) -> bool:
    """Return whether no range in a sorted list overlaps a claim."""
    at = bisect_left(ranges, (claim.end, 0))
    return at == 0 or ranges[at - 1][1] <= claim.start
