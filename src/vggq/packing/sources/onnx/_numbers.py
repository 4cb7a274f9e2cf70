"""Numbers in the wire format of Protocol Buffers, of variable or fixed size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ....errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

VARINT, FIXED64, LENGTH_DELIMITED, START_GROUP, END_GROUP, FIXED32 = range(6)
"""The wire types."""

MAX_VARINT_SIZE: Final = 10
"""Bytes of the longest variable-length integer."""

FIXED_SIZES: Final = {FIXED32: 4, FIXED64: 8}


def key_of(number: int, wire_type: int = LENGTH_DELIMITED) -> int:
    """Return the key of a field: its number and its wire type."""
    return number << 3 | wire_type


def wire_error(reason: str) -> SourceError:
    """Return the error for a file that is no valid message."""
    return SourceError(f"cannot be read as ONNX: {reason}")


def decode_few_varints(content: bytes) -> list[int]:
    """Return variable-length integers as 64-bit integers without a sign.

    Raises:
        SourceError: the bytes are no such integers.

    """
    values = []
    value = shift = 0
    for byte in content:
        value |= (byte & 0x7F) << shift
        shift += 7
        if shift > 7 * MAX_VARINT_SIZE:
            break
        if byte < 0x80:
            values.append(value & (1 << 64) - 1)
            value = shift = 0
    if shift:
        raise wire_error("a number is longer than its field, or than 10 bytes")
    return values


def decode_varints(content: bytes) -> NDArray[np.uint64]:
    """Return variable-length integers as 64-bit integers without a sign.

    Raises:
        SourceError: the bytes are no such integers.

    """
    data = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(data < 0x80)
    starts = np.concatenate([[0], ends[:-1] + 1])[: ends.size]
    longest = int((ends - starts).max(initial=0)) + 1
    if data.size and (data[-1] >= 0x80 or longest > MAX_VARINT_SIZE):
        raise wire_error("a number is longer than its field, or than 10 bytes")
    values = np.zeros(ends.size, np.uint64)
    for place in range(longest):
        at = starts + place
        digits = np.where(at <= ends, data[np.minimum(at, ends)] & 0x7F, 0).astype(np.uint64)
        values |= digits << np.uint64(7 * place)
    return values


def decode_run(content: bytes, key: int) -> bytes:
    """Return the values of a run of numbers of fixed size, without their keys."""
    stride = 1 + FIXED_SIZES[key & 7]
    return np.frombuffer(content, np.uint8).reshape(-1, stride)[:, 1:].tobytes()
