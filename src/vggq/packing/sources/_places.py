"""The places of tensors, and of the checksums over them, in the files of a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...errors import SourceError

if TYPE_CHECKING:
    from ..._reader import Reader


@dataclass(frozen=True, slots=True)
class Place:
    """The range of a file that holds a tensor's elements: little-endian and in C order.

    Attributes:
        member: the file, as its index in the list of the source's files.
        start: the offset of the first byte.
        size: bytes of the range: those of the tensor in its dtype.

    """

    member: int
    start: int
    size: int

    def in_member(self, member: int) -> Place:
        """Return the same range of another file."""
        return replace(self, member=member)


@dataclass(frozen=True, slots=True)
class Checksum:
    """A CRC-32 over a range of a file, stored in the same file.

    Attributes:
        member: the file, as its index in the list of the source's files.
        start: the offset of the first byte of the range.
        size: bytes of the range.
        fields: the offsets at which the CRC-32 is stored, as four little-endian bytes; none of
            them is within a tensor or within the range of another checksum.

    """

    member: int
    start: int
    size: int
    fields: tuple[int, ...]

    def in_member(self, member: int) -> Checksum:
        """Return the same checksum of another file."""
        return replace(self, member=member)


def read_exactly(reader: Reader, start: int, size: int) -> bytes:
    """Return the bytes of a range of a source.

    Raises:
        SourceError: the file became shorter since it was opened.

    """
    content = reader.read_at(start, size)
    if len(content) != size:
        raise SourceError("the file was truncated while it was read")
    return content
