"""The files of a model, with the ranges that a packed file restores from its tensors."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import SourceError
from .goals import Size
from .sources import file_size, matches_any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .options import Options
    from .sources import Checksum, Source, SourceTensor

CHUNK_SIZE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Gap:
    """A range of a file whose bytes are those of a tensor.

    Attributes:
        start: the offset of the first byte.
        size: bytes of the range.
        tensor: the tensor's index in the list of the source's tensors.

    """

    start: int
    size: int
    tensor: int


@dataclass(frozen=True, slots=True)
class MemberLayout:
    """A file of a model.

    Attributes:
        file: the file, or the copy that is restored in its place.
        path: the file's path relative to the main file's folder, with slashes.
        size: its bytes.
        gaps: the ranges of tensors, in order; no two overlap.
        checksums: the CRC-32s that have to be replaced, because tensors are in their ranges.

    """

    file: Path
    path: str
    size: int
    gaps: tuple[Gap, ...]
    checksums: tuple[Checksum, ...]


def plan_model(source: Source) -> tuple[Source, tuple[MemberLayout, ...]]:
    """Return the source with the tensors that its files really contain, and the files.

    Args:
        source: the open source; if its files are not restored, it is returned without files.

    Raises:
        SourceError: a file cannot be read.

    """
    if not source.restores_model:
        return source, ()
    source = _compare_places(source)
    members = [_plan_member(source, index) for index in range(len(source.files))]
    return source, tuple(members)


def group_aliases(source: Source, options: Options) -> list[list[SourceTensor]]:
    """Return groups of tensors with one place; the options for the first apply to the group.

    It is one that `keep` names, or else one with a goal of its own, or else the one with the
    largest factor of `importance`. If only the tensors are restored, each is a group.
    """
    groups: dict[object, list[SourceTensor]] = {}
    for tensor in source.tensors:
        is_placed = source.restores_model and tensor.place is not None and tensor.count
        groups.setdefault(tensor.place if is_placed else tensor.name, []).append(tensor)

    factors = options.goal.factors if isinstance(options.goal, Size) else {}

    def precedence(tensor: SourceTensor) -> tuple[bool, bool, float]:
        is_kept = matches_any(tensor.name, options.keep)
        has_own_goal = options.has_own_goal(tensor.name)
        return (not is_kept, not has_own_goal, -factors.get(tensor.name, 1.0))

    return [sorted(group, key=precedence) for group in groups.values()]


def read_range(file: Path, start: int, size: int) -> Iterator[bytes]:
    """Yield the bytes of a range of a file, in chunks of at most `CHUNK_SIZE`.

    Raises:
        SourceError: the file cannot be read, or ends before the range.

    """
    try:
        with file.open("rb") as opened:
            opened.seek(start)
            while size:
                chunk = opened.read(min(size, CHUNK_SIZE))
                if not chunk:
                    raise SourceError("ends too early: it changed while it was read", path=file)
                yield chunk
                size -= len(chunk)
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}", path=file) from error


def _compare_places(source: Source) -> Source:
    """Keep each tensor in the rest whose place does not contain exactly its values."""
    tensors, kept = [], []
    for tensor in source.tensors:
        problem = _find_problem(tensor, source.restored_files)
        if problem is None:
            tensors.append(tensor)
        else:
            kept.append(replace(tensor, problem=problem))
    return replace(source, tensors=tensors, kept=(*source.kept, *kept))


def _find_problem(tensor: SourceTensor, files: Sequence[Path]) -> str | None:
    place = tensor.place
    if place is None or not tensor.count:
        return None
    try:
        values = _as_bytes(tensor.read())
    except SourceError as error:
        return error.reason
    if values.size != place.size:
        return "its range in the file has another size"
    begin = 0
    for chunk in read_range(files[place.member], place.start, place.size):
        if not np.array_equal(values[begin : begin + len(chunk)], np.frombuffer(chunk, np.uint8)):
            return "its range in the file has other bytes than its values"
        begin += len(chunk)
    return None


def _as_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _plan_member(source: Source, index: int) -> MemberLayout:
    file = source.restored_files[index]
    gaps = tuple(_find_gaps(source.tensors, index))
    own = [checksum for checksum in source.checksums if checksum.member == index]
    checksums = [_keep_right_fields(checksum, file) for checksum in _over_gaps(own, gaps)]
    return MemberLayout(
        file=file,
        path=source.member_path(source.files[index]),
        size=file_size(file),
        gaps=gaps,
        checksums=tuple(checksum for checksum in checksums if checksum.fields),
    )


def _find_gaps(tensors: Sequence[SourceTensor], member: int) -> list[Gap]:
    """Return the ranges of tensors in a file; of tensors with the same range, the first counts."""
    gaps: dict[int, Gap] = {}
    for index, tensor in enumerate(tensors):
        place = tensor.place
        if place is not None and tensor.count and place.member == member:
            gaps.setdefault(place.start, Gap(place.start, place.size, index))
    return [gap for _, gap in sorted(gaps.items())]


def _over_gaps(checksums: Iterable[Checksum], gaps: Sequence[Gap]) -> Iterator[Checksum]:
    """Yield the checksums whose range contains bytes of a tensor."""
    starts = np.array([gap.start for gap in gaps], np.int64)
    for checksum in checksums:
        # The last gap that begins before the range ends is the only one that can reach it, or is
        # followed by none that does.
        before = int(np.searchsorted(starts, checksum.start + checksum.size))
        if before and gaps[before - 1].start + gaps[before - 1].size > checksum.start:
            yield checksum


def _keep_right_fields(checksum: Checksum, file: Path) -> Checksum:
    """Return the checksum without the fields in which it is wrong, and has to stay wrong."""
    crc = 0
    for chunk in read_range(file, checksum.start, checksum.size):
        crc = zlib.crc32(chunk, crc)
    right = crc.to_bytes(4, "little")
    fields = [field for field in checksum.fields if b"".join(read_range(file, field, 4)) == right]
    return replace(checksum, fields=tuple(fields))
