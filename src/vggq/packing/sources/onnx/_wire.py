"""The wire format of Protocol Buffers: the fields of a message, and where they are in a file.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from .._places import read_exactly
from ._numbers import (
    END_GROUP,
    FIXED32,
    FIXED64,
    LENGTH_DELIMITED,
    START_GROUP,
    VARINT,
    decode_few_varints,
    key_of,
    wire_error,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from ...._reader import Reader

    Span = tuple[int, int]
    """The offsets of the first byte of a range and of the byte after it."""

MAX_DEPTH: Final = 100
"""Maximum number of messages within each other, as in protobuf."""

_WINDOW_SIZE: Final = 1 << 16
# The key and the length of a field, or its key and its value, are never longer.
_MAX_HEAD_SIZE: Final = 20
# Those of keys and lengths.
_MAX_SHORT_VARINT_SIZE: Final = 5
_VARINT: Final = re.compile(rb"[\x80-\xff]{0,9}[\x00-\x7f]")
_SHORT_KEYS: Final = frozenset(key_of(number) for number in range(1, 16))
_SCALARS: Final = {
    VARINT: rb"[\x80-\xff]{0,9}[\x00-\x7f]",
    FIXED32: rb"[\x00-\xff]{4}",
    FIXED64: rb"[\x00-\xff]{8}",
}


class Field(NamedTuple):
    """A field of a message, or a run of numbers with the same key.

    Attributes:
        key: the number of the field and its wire type, as protobuf writes them: see `key_of`.
        start: the offset of the content. Of numbers it is that of the first key.
        stop: the offset of the byte after the field.

    """

    key: int
    start: int
    stop: int


class WireFile:
    """A file with a message.

    Its messages are lists of spans, because protobuf merges a message that occurs again: the
    fields of the later one follow those of the earlier one.

    Args:
        reader: the file.

    Attributes:
        size: bytes of the file.

    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.size = reader.size
        self._window = b""
        self._window_start = 0

    def fields(self, spans: Iterable[Span]) -> Iterator[Field]:
        """Yield the fields of a message in order, without groups.

        Raises:
            SourceError: the message is damaged.

        """
        for start, stop in spans:
            position = start
            while position < stop:
                field = self._read_short_field(position, stop) or self._read_field(position, stop)
                wire_type = field.key & 7
                if wire_type == START_GROUP:
                    position = self._skip_group(field, stop)
                    continue
                if wire_type == END_GROUP:
                    raise wire_error(f"the group that ends at byte {field.start} has no begin")
                yield field
                position = field.stop

    def collect(self, spans: Iterable[Span], keys: Collection[int]) -> dict[int, list[Span]]:
        """Return the spans of some fields of a message, by their keys.

        Raises:
            SourceError: the message is damaged.

        """
        found: dict[int, list[Span]] = defaultdict(list)
        for key, start, stop in self.fields(spans):
            if key in keys:
                found[key].append((start, stop))
        return found

    def read(self, span: Span) -> bytes:
        """Return the bytes of a span; may be called from any thread.

        Raises:
            SourceError: the file became shorter.

        """
        start, stop = span
        return read_exactly(self._reader, start, stop - start)

    def peek(self, span: Span, limit: int | None = None) -> bytes:
        """Return the bytes of a span, or only the first ones, which may be in the buffer.

        Raises:
            SourceError: the file became shorter.

        """
        start, stop = span
        stop = stop if limit is None else min(stop, start + limit)
        first, last = start - self._window_start, stop - self._window_start
        if first >= 0 and last <= len(self._window):
            return self._window[first:last]
        return self.read((start, stop))

    def _head(self, position: int) -> tuple[bytes, int]:
        """Return bytes of the file, and the index among them of a position.

        `_MAX_HEAD_SIZE` bytes follow the position, or all to the end of the file.
        """
        offset = position - self._window_start
        if not 0 <= offset <= len(self._window) - _MAX_HEAD_SIZE:
            stop = min(position + _WINDOW_SIZE, self.size)
            self._window, self._window_start = self.read((position, stop)), position
            offset = 0
        return self._window, offset

    def _read_short_field(self, position: int, stop: int) -> Field | None:
        """Return the field at a position if it is a short text or message, as most fields are."""
        index = position - self._window_start
        data = self._window
        if 0 <= index < len(data) - 1 and data[index] in _SHORT_KEYS:
            start = position + 2
            end = start + data[index + 1]
            # A larger length continues in the next byte.
            if data[index + 1] < 0x80 and end <= stop:
                return Field(data[index], start, end)
        return None

    def _read_field(self, position: int, stop: int) -> Field:
        """Return the field at a position; a key alone if a group starts or ends there."""
        data, index = self._head(position)
        limit = min(len(data), index + stop - position)
        key, after = _read_short_varint(data, index, limit, position)
        wire_type = key & 7
        if key < key_of(1, 0):
            raise wire_error(f"the field at byte {position} has the number 0")
        if wire_type == LENGTH_DELIMITED:
            size, after = _read_short_varint(data, after, limit, position)
            start = position + after - index
            if start + size > stop:
                raise wire_error(
                    f"the field at byte {position} has {size} bytes, but its message ends at byte "
                    f"{stop}"
                )
            return Field(key, start, start + size)
        if wire_type in _SCALARS:
            first, last = _match_numbers(key, data, (index, after, limit), position)
            return Field(key, position + first - index, position + last - index)
        if wire_type in {START_GROUP, END_GROUP}:
            return Field(key, position, position + after - index)
        raise wire_error(f"the field at byte {position} has the wire type {wire_type}")

    def _skip_group(self, group: Field, stop: int) -> int:
        """Return the offset of the byte after a group."""
        open_groups = [group]
        position = group.stop
        while open_groups:
            if position >= stop:
                raise wire_error(f"the group at byte {open_groups[-1].start} has no end")
            field = self._read_field(position, stop)
            position = field.stop
            if field.key & 7 == START_GROUP:
                open_groups.append(field)
                check_depth(len(open_groups), field.start)
            elif field.key & 7 == END_GROUP and open_groups.pop().key >> 3 != field.key >> 3:
                raise wire_error(f"the group that ends at byte {field.start} has another begin")
        return position


def check_depth(depth: int, position: int) -> None:
    """Raise SourceError if a message is too deep in others."""
    if depth > MAX_DEPTH:
        raise wire_error(
            f"the message at byte {position} is nested more than {MAX_DEPTH} levels deep"
        )


def _read_short_varint(data: bytes, index: int, limit: int, position: int) -> tuple[int, int]:
    """Return a key or a length, and the index after it."""
    if index < limit and data[index] < 0x80:
        return data[index], index + 1
    match = _VARINT.match(data, index, limit)
    if match is None or match.end() - index > _MAX_SHORT_VARINT_SIZE:
        raise wire_error(f"the field at byte {position} has no valid key or length")
    (value,) = decode_few_varints(match[0])
    if value >= 1 << 32:
        raise wire_error(f"the field at byte {position} has no valid key or length")
    return value, match.end()


def _match_numbers(
    key: int, data: bytes, indexes: tuple[int, int, int], position: int
) -> tuple[int, int]:
    """Return the indexes of the begin and the end of a run of numbers with the same key.

    Args:
        key: the key.
        data: bytes of the file.
        indexes: the indexes of the first key, of the byte after it, and of the end of the message.
        position: the offset of the first key in the file, for an error.

    """
    index, after, limit = indexes
    if after == index + 1:
        match = _run_pattern(key).match(data, index, limit)
    else:
        # A key that is longer than necessary is rare. Its last byte is skipped like a whole key.
        match = _number_pattern(key & 7).match(data, after, limit)
        index = index if key & 7 == VARINT else after - 1
    if match is None:
        raise wire_error(f"the field at byte {position} has no valid number")
    return index, match.end()


@lru_cache(None)
def _number_pattern(wire_type: int) -> re.Pattern[bytes]:
    return re.compile(_SCALARS[wire_type])


@lru_cache(None)
def _run_pattern(key: int) -> re.Pattern[bytes]:
    """Return the pattern of numbers with the same key of one byte."""
    # Not possessive: in Python 3.11.2 such a match can end within a number.
    return re.compile(rb"(?:%s%s)+" % (re.escape(bytes([key])), _SCALARS[key & 7]))
