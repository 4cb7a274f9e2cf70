"""The tensors of a model whose bytes can be replaced in its files, and the others."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ..._dtypes import STORAGE
from ...errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ._places import Checksum, Place
    from ._source import SourceTensor

_CRC_SIZE: Final = 4


class Ranges:
    """A set of offsets in one file, as sorted ranges that do not touch."""

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(ranges):
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def overlap(self, start: int, end: int) -> bool:
        """Return whether the set and a range have an offset in common."""
        index = bisect_right(self._ends, start)
        return index < len(self._starts) and self._starts[index] < end


def separate_tensors(
    tensors: Sequence[SourceTensor], checksums: Sequence[Checksum], files: Sequence[Path]
) -> tuple[list[SourceTensor], list[SourceTensor]]:
    """Return the tensors whose bytes can be replaced, and those that stay in the rest.

    The first have a place that no other tensor overlaps; tensors with the same place are aliases.
    Empty tensors belong to them as well. Each of the others has a `problem`.

    Args:
        tensors: all tensors of the model.
        checksums: the checksums over its tensors.
        files: the files of the model.

    Raises:
        SourceError: a file is gone.

    """
    sizes = [file_size(file) for file in files]
    fixed = [_fixed_bytes(index, size, checksums) for index, size in enumerate(sizes)]
    problems = [_find_problem(tensor, sizes, fixed) for tensor in tensors]
    candidates = [t for t, problem in zip(tensors, problems, strict=True) if problem is None]
    shared = _find_shared_places(candidates)
    replaceable, kept = [], []
    for tensor, found in zip(tensors, problems, strict=True):
        problem = "shares bytes with another tensor" if tensor.place in shared else found
        if problem is None:
            replaceable.append(tensor)
        else:
            kept.append(replace(tensor, problem=problem))
    return replaceable, kept


def file_size(file: Path) -> int:
    """Return the bytes of a file.

    Raises:
        SourceError: the file is gone, or the system does not tell.

    """
    try:
        return file.stat().st_size
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}", path=file) from error


def _find_problem(
    tensor: SourceTensor, sizes: Sequence[int], fixed: Sequence[Ranges]
) -> str | None:
    """Return why a tensor's bytes cannot be replaced, without regard to the other tensors."""
    if tensor.problem is not None or not tensor.count:
        return tensor.problem
    place = tensor.place
    if place is None:
        return "no range of the file holds exactly its values"
    end = place.start + place.size
    is_inside = place.start >= 0 and end <= sizes[place.member]
    if not is_inside or place.size != tensor.count * STORAGE[tensor.dtype].itemsize:
        return "its range in the file has another size"
    if fixed[place.member].overlap(place.start, end):
        return "a checksum over its bytes cannot be replaced"
    return None


def _fixed_bytes(member: int, size: int, checksums: Sequence[Checksum]) -> Ranges:
    """Return the bytes of a file that are no tensor's to replace.

    These are the checksums themselves, and the ranges of those that are within such a range.
    """
    own = [c for c in checksums if c.member == member]
    covered = Ranges((c.start, c.start + c.size) for c in own)
    fields = [(field, field + _CRC_SIZE) for c in own for field in c.fields]
    nested = [
        (c.start, c.start + c.size)
        for c in own
        for field in c.fields
        if field + _CRC_SIZE > size or covered.overlap(field, field + _CRC_SIZE)
    ]
    return Ranges(fields + nested)


def _find_shared_places(tensors: Iterable[SourceTensor]) -> set[Place]:
    """Return the places that overlap others, or hold tensors of several dtypes or shapes."""
    owners: dict[Place, set[tuple[object, ...]]] = defaultdict(set)
    for tensor in tensors:
        if tensor.place is not None and tensor.count:
            owners[tensor.place].add((tensor.dtype, tensor.shape))
    shared = {place for place, kinds in owners.items() if len(kinds) > 1}
    previous: Place | None = None
    for place in sorted(owners, key=lambda place: (place.member, place.start)):
        if previous and previous.member == place.member and place.start < _end(previous):
            shared |= {previous, place}
        if not previous or previous.member != place.member or _end(place) > _end(previous):
            previous = place
    return shared


def _end(place: Place) -> int:
    return place.start + place.size
