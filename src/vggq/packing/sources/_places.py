"""The places of tensors, and of the checksums over them, in the files of a model."""

from __future__ import annotations

from dataclasses import dataclass, replace


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
