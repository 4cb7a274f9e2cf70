"""Messages of Protocol Buffers, written byte by byte."""

from __future__ import annotations

VARINT, FIXED64, LENGTH_DELIMITED, START_GROUP, END_GROUP, FIXED32 = range(6)


def varint(number: int, size: int = 1) -> bytes:
    """Return a variable-length integer of at least `size` bytes."""
    number %= 1 << 64
    content = bytearray()
    while number >= 0x80 or len(content) + 1 < size:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*content, number])


def key(number: int, wire_type: int, size: int = 1) -> bytes:
    """Return the key of a field, of at least `size` bytes."""
    return varint(number << 3 | wire_type, size)


def field(number: int, content: bytes, *more: bytes) -> bytes:
    """Return a field with bytes, text or a message, which may be of several parts."""
    content = b"".join([content, *more])
    return key(number, LENGTH_DELIMITED) + varint(len(content)) + content


def integer(number: int, *values: int) -> bytes:
    """Return a field with an integer, once for each value."""
    return b"".join(key(number, VARINT) + varint(value) for value in values)


def group(number: int, content: bytes) -> bytes:
    """Return a group, which is a message between two keys."""
    return key(number, START_GROUP) + content + key(number, END_GROUP)
