"""Flatbuffers: tables, vectors and strings at offsets in a file, each validated when it is read.

https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ....errors import SourceError
from .._places import read_exactly

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...._reader import Reader

Span = tuple[int, int]
"""The offsets of the first byte of a range and of the byte after it."""

_WINDOW_SIZE: Final = 1 << 16
_MAX_WINDOWS: Final = 64
_UINT32: Final = struct.Struct("<I")
_INT32: Final = struct.Struct("<i")
_VTABLE_HEAD: Final = struct.Struct("<HH")
_OFFSET_SIZE: Final = 4


def damaged(problem: str) -> SourceError:
    """Return the error for a damaged file."""
    return SourceError(f"damaged: {problem}")


class FlatFile:
    """A file with a flatbuffer.

    Args:
        reader: the file.

    Attributes:
        size: bytes of the file.
        used: the spans of all tables, vectors and strings that were read.

    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.size = reader.size
        self.used: set[Span] = {(0, 2 * _OFFSET_SIZE)}
        self._windows: dict[int, bytes] = {}

    def root(self) -> Table:
        """Return the main table.

        Raises:
            SourceError: the file is damaged.

        """
        return self.table(self._follow(0))

    def table(self, start: int) -> Table:
        """Return the table at an offset.

        Raises:
            SourceError: it is not within the file.

        """
        vtable = start - _INT32.unpack(self.peek(start, 4))[0]
        vtable_size, size = _VTABLE_HEAD.unpack(self.peek(vtable, 4))
        if vtable_size < _VTABLE_HEAD.size or vtable_size % 2 or size < _OFFSET_SIZE:
            raise damaged(f"the table at byte {start} has no valid list of fields")
        self._mark(start, size)
        self._mark(vtable, vtable_size)
        content = self.peek(vtable, vtable_size)[_VTABLE_HEAD.size :]
        return Table(self, start, size, struct.unpack(f"<{len(content) // 2}H", content))

    def vector(self, start: int, item_size: int) -> Span:
        """Return the span of the items of a vector.

        Raises:
            SourceError: it is not within the file.

        """
        (count,) = _UINT32.unpack(self.peek(start, 4))
        self.check_span(start, 4 + count * item_size)
        return start + 4, start + 4 + count * item_size

    def tables(self, vector: Span) -> Iterator[Table]:
        """Yield the tables of a vector of offsets.

        Raises:
            SourceError: one of them is not within the file.

        """
        for position in range(*vector, _OFFSET_SIZE):
            yield self.table(self._follow(position))

    def item(self, vector: Span, index: int) -> Table:
        """Return a table of a vector of offsets.

        Raises:
            SourceError: the vector is shorter, or the table is not within the file.

        """
        position = vector[0] + _OFFSET_SIZE * index
        if position >= vector[1]:
            raise damaged(f"number {index} of a list that has {count_items(vector)} is used")
        return self.table(self._follow(position))

    def _follow(self, position: int) -> int:
        """Return the offset that the file has at a position, from the beginning of the file."""
        return position + int(_UINT32.unpack(self.peek(position, 4))[0])

    def check_span(self, start: int, size: int) -> None:
        """Raise SourceError if a range is not within the file."""
        if start < 0 or start + size > self.size:
            raise damaged(
                f"truncated, or an offset is wrong: the bytes from {start} to {start + size} are "
                f"used, and the file has {self.size}"
            )

    def _mark(self, start: int, size: int) -> None:
        self.check_span(start, size)
        self.used.add((start, start + size))

    def mark(self, span: Span) -> None:
        """Record that a span is used for something else than the values of tensors."""
        self.used.add(span)

    def peek(self, start: int, size: int) -> bytes:
        """Return a few bytes.

        Raises:
            SourceError: they are not within the file.

        """
        self.check_span(start, size)
        number, begin = divmod(start, _WINDOW_SIZE)
        content = self._window(number)[begin : begin + size]
        return content if len(content) == size else self.read((start, start + size))

    def _window(self, number: int) -> bytes:
        if number not in self._windows:
            if len(self._windows) == _MAX_WINDOWS:
                self._windows.clear()
            self._windows[number] = self._reader.read_at(number * _WINDOW_SIZE, _WINDOW_SIZE)
        return self._windows[number]

    def read(self, span: Span) -> bytes:
        """Return the bytes of a span; may be called from any thread.

        Raises:
            SourceError: the file became shorter.

        """
        start, stop = span
        return read_exactly(self._reader, start, stop - start)


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        file: the file.
        start: the offset of the table.
        size: its bytes.
        fields: the offset in the table of each field, 0 if the table does not have it.

    """

    file: FlatFile
    start: int
    size: int
    fields: tuple[int, ...]

    def number(self, field: int, layout: str, default: int = 0) -> int:
        """Return a number.

        Args:
            field: the number of the field in the schema.
            layout: its type, as in `struct`.
            default: the value if the table does not have the field.

        Raises:
            SourceError: the field is not within the table.

        """
        size = struct.calcsize(f"<{layout}")
        position = self._position(field, size)
        if position is None:
            return default
        (value,) = struct.unpack(f"<{layout}", self.file.peek(position, size))
        return int(value)

    def target(self, field: int) -> int | None:
        """Return the offset in the file that a field leads to; None if there is no such field.

        Raises:
            SourceError: the field is not within the table.

        """
        distance = self.number(field, "I")
        position = self._position(field, _OFFSET_SIZE)
        return position + distance if position is not None and distance else None

    def vector(self, field: int, item_size: int) -> Span:
        """Return the span of the items of a vector; an empty one if there is no such field.

        Raises:
            SourceError: the vector is not within the file.

        """
        target = self.target(field)
        return (0, 0) if target is None else self.file.vector(target, item_size)

    def tables(self, field: int) -> Span:
        """Return the span of a vector of offsets, which is used for nothing else.

        Raises:
            SourceError: the vector is not within the file.

        """
        span = self.vector(field, _OFFSET_SIZE)
        self.file.mark(span)
        return span

    def _position(self, field: int, size: int) -> int | None:
        offset = self.fields[field] if field < len(self.fields) else 0
        if not offset:
            return None
        if offset < _OFFSET_SIZE or offset + size > self.size:
            raise damaged(f"field {field} is not within the table at byte {self.start}")
        return self.start + offset


def count_items(vector: Span) -> int:
    """Return the number of offsets in a vector."""
    return (vector[1] - vector[0]) // _OFFSET_SIZE
