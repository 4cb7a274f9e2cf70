"""The safetensors container: eight bytes of header length, a JSON header, the entries' bytes.

The container of packed files, and of safetensors checkpoints that are read as sources.
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from .errors import HeaderError

ReadAt = Callable[[int, int], bytes]
"""Reads `size` bytes at `offset`; fewer only at the end of the file."""

LENGTH_BYTES: Final = 8
MAX_HEADER_BYTES: Final = 100_000_000  # safetensors' own limit
MAX_DIMENSIONS: Final = 32
_ENTRY_KEYS: Final = frozenset({"dtype", "shape", "data_offsets"})

_BITS: Final = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the header: where its bytes lie, as offsets into the whole file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Header:
    """A header that was proved to describe its file exactly."""

    entries: dict[str, Entry]
    metadata: dict[str, str]


def read_header(read_at: ReadAt, file_size: int) -> Header:
    """Read and prove a header; the entries fill the file without a gap or an overlap.

    Raises:
        HeaderError: any rule of the safetensors format is broken.

    """
    length = int.from_bytes(read_at(0, LENGTH_BYTES), "little")
    if file_size < LENGTH_BYTES:
        raise HeaderError(f"the file has {file_size} bytes, too few for a header")
    if length > min(file_size - LENGTH_BYTES, MAX_HEADER_BYTES):
        raise HeaderError(f"the header's length, {length}, is more than the file holds")
    table = parse_json(read_at(LENGTH_BYTES, length))
    metadata = table.pop("__metadata__", {})
    if not _is_text_table(metadata):
        raise HeaderError("__metadata__ is not a table of strings")
    start = LENGTH_BYTES + length
    entries = {name: _parse_entry(name, value, start) for name, value in table.items()}
    _check_coverage(entries, start, file_size)
    return Header(entries, metadata)


def write_header(sizes: dict[str, int], metadata: dict[str, str]) -> bytes:
    """The length and header of a file of one-dimensional U8 entries of these sizes, in order."""
    table: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, size in sizes.items():
        table[name] = {"dtype": "U8", "shape": [size], "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(table, separators=(",", ":")).encode()
    # Spaces up to a multiple of eight, as the safetensors library writes it.
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise HeaderError(f"a header of {len(text)} bytes is over the limit of {MAX_HEADER_BYTES}")
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def parse_json(text: bytes) -> dict[str, Any]:
    """A JSON object whose keys are distinct.

    Raises:
        HeaderError: the text is not UTF-8, not JSON, not an object, or names a key twice.

    """
    try:
        table = json.loads(text.decode(), object_pairs_hook=_distinct, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"not valid JSON: {error}") from error
    if not isinstance(table, dict):
        raise HeaderError("not a JSON object")
    return table


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return table


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _is_text_table(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def is_count(value: object) -> bool:
    """Whether a JSON value is an integer from 0 to 2^53, beyond which JSON is not portable."""
    return type(value) is int and 0 <= value <= 2**53


def is_shape(value: object) -> bool:
    """Whether a JSON value is a list of up to 32 counts (numpy's bound) whose product is one.

    Zeros are left out of the product: numpy has no array that would be too large without them.
    """
    if not isinstance(value, list) or len(value) > MAX_DIMENSIONS:
        return False
    product = 1
    for size in value:
        if not is_count(size):
            return False
        product *= size or 1
    return is_count(product)


def _is_range(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and is_count(value[0])
        and is_count(value[1])
        and bool(value[0] <= value[1])
    )


def _parse_entry(name: str, value: object, data_start: int) -> Entry:
    if not isinstance(value, dict) or value.keys() != _ENTRY_KEYS:
        raise HeaderError(f"entry {name!r}: dtype, shape and data_offsets are expected")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise HeaderError(f"entry {name!r}: dtype {dtype!r} is unknown")
    if not is_shape(shape):
        raise HeaderError(f"entry {name!r}: shape {shape!r} is not a list of sizes")
    if not _is_range(offsets):
        raise HeaderError(f"entry {name!r}: data_offsets {offsets!r} are not a range")
    begin, end = offsets
    if (end - begin) * 8 != math.prod(shape) * _BITS[dtype]:
        raise HeaderError(f"entry {name!r}: {end - begin} bytes do not hold {shape} of {dtype}")
    return Entry(dtype, tuple(shape), data_start + begin, end - begin)


def _check_coverage(entries: dict[str, Entry], start: int, file_size: int) -> None:
    ranges = sorted((entry.start, entry.start + entry.size) for entry in entries.values())
    for (_, end), (begin, _) in pairwise([(start, start), *ranges]):
        if end != begin:
            kind = "overlap" if begin < end else "leave a gap"
            raise HeaderError(f"the entries {kind} at byte {min(begin, end)} of {file_size}")
    last = ranges[-1][1] if ranges else start
    if last != file_size:
        kind = "was cut short" if file_size < last else "goes on behind its last entry"
        raise HeaderError(f"the file {kind}: it has {file_size} bytes, the entries end at {last}")
