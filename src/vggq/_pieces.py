"""The work of restoring files of a model: which bytes of an entry go where."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._manifest import TensorInfo
    from ._model_info import Member, Model, RestBlock


@dataclass(frozen=True, slots=True)
class TensorTask:
    """A tensor to restore.

    Attributes:
        tensor: the tensor.
        member: the member.
        start: the offset of the tensor's bytes in the member.

    """

    tensor: TensorInfo
    member: Member
    start: int

    @property
    def entry(self) -> int:
        """The index of the entry that holds the tensor."""
        return self.tensor.entry


@dataclass(frozen=True, slots=True)
class BlockPart:
    """A range of a block of the rest.

    Attributes:
        begin: the offset in the block.
        size: bytes of the range.
        member: the member that has these bytes.
        start: the offset in the member.

    """

    begin: int
    size: int
    member: Member
    start: int


@dataclass(frozen=True, slots=True)
class BlockTask:
    """A block of the rest to restore.

    Attributes:
        block: the block.
        parts: the ranges of the block that are wanted, in order.

    """

    block: RestBlock
    parts: tuple[BlockPart, ...]

    @property
    def entry(self) -> int:
        """The index of the entry that holds the block."""
        return self.block.entry


class Rest:
    """The blocks of the rest as one range of bytes, of which each member has a part.

    Args:
        model: the description of the model.

    """

    def __init__(self, model: Model) -> None:
        self.blocks = model.rest
        self._starts = [0, *accumulate(block.size for block in model.rest)]
        sizes = (member.rest_size for member in model.members)
        paths = (member.path for member in model.members)
        self._member_starts = dict(zip(paths, accumulate(sizes, initial=0), strict=False))

    def start_of(self, member: Member) -> int:
        """Return the offset of the member's first byte of the rest."""
        return self._member_starts[member.path]

    def split(self, position: int, size: int) -> Iterator[tuple[int, int, int]]:
        """Yield the parts of a range of the rest: index of the block, offset in it, and size."""
        index = bisect_right(self._starts, position) - 1
        while size:
            begin = position - self._starts[index]
            length = min(size, self.blocks[index].size - begin)
            yield index, begin, length
            position, size, index = position + length, size - length, index + 1


def plan_tasks(
    model: Model, tensors: Sequence[TensorInfo], members: Sequence[Member]
) -> list[TensorTask | BlockTask]:
    """Return the tasks that restore some members, in the order of the packed file's entries.

    Args:
        model: the description of the model.
        tensors: the tensors of the manifest.
        members: the members to restore.

    """
    rest = Rest(model)
    parts: dict[int, list[BlockPart]] = {}
    tasks: list[TensorTask | BlockTask] = []
    for member in members:
        position, start = rest.start_of(member), 0
        for piece in member.pieces:
            if piece.tensor is not None:
                tasks.append(TensorTask(tensors[piece.tensor], member, start))
            else:
                offset = start
                for index, begin, size in rest.split(position, piece.size):
                    parts.setdefault(index, []).append(BlockPart(begin, size, member, offset))
                    offset += size
                position += piece.size
            start += piece.size
    tasks += [BlockTask(rest.blocks[index], tuple(found)) for index, found in parts.items()]
    return sorted(tasks, key=lambda task: task.entry)
