"""The safetensors container: eight bytes of header length, a JSON header, the entries' bytes.

Packed files use this container. Checkpoints in it are read less strictly, by
`vggq.packing.sources`.
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import pairwise
from reprlib import repr as short
from typing import Any, Final, NamedTuple

from ._json import is_count, is_shape, parse_json
from .errors import HeaderError

ReadAt = Callable[[int, int], bytes]
"""Called with an offset and a size; returns that many bytes, fewer only at the end of the file."""

LENGTH_SIZE: Final = 8
MAX_HEADER_SIZE: Final = 100_000_000  # safetensors' own limit
_ENTRY_KEYS: Final = frozenset({"dtype", "shape", "data_offsets"})

DTYPE_BITS: Final = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


class Entry(NamedTuple):
    """An entry of the header; `start` is an offset into the whole file, `size` is in bytes."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


class Header(NamedTuple):
    """A validated header, whose entries cover the rest of the file exactly."""

    entries: dict[str, Entry]
    metadata: dict[str, str]


def read_header(read_at: ReadAt, file_size: int) -> Header:
    """Read and validate a header.

    Args:
        read_at: reads bytes of the file.
        file_size: bytes of the file.

    Raises:
        HeaderError: the header breaks a rule of the safetensors format, or its entries leave a
            gap or overlap.

    """
    text = read_header_text(read_at, file_size)
    table = parse_json(text)
    metadata = table.pop("__metadata__", {})
    if not _is_string_object(metadata):
        raise HeaderError("__metadata__ is not an object of strings")
    start = LENGTH_SIZE + len(text)
    entries = {name: _parse_entry(name, value, start) for name, value in table.items()}
    check_coverage(entries, start, file_size)
    return Header(entries, metadata)


def read_header_text(read_at: ReadAt, file_size: int) -> bytes:
    """Return the JSON of a header, of which only the length is validated.

    Raises:
        HeaderError: the header is longer than the file, or than safetensors allows.

    """
    length = int.from_bytes(read_at(0, LENGTH_SIZE), "little")
    if file_size < LENGTH_SIZE:
        raise HeaderError(f"the file has only {file_size} bytes, too few for a header")
    if length > min(file_size - LENGTH_SIZE, MAX_HEADER_SIZE):
        raise HeaderError(
            f"the declared header length, {length} bytes, exceeds the file or the limit of "
            f"{MAX_HEADER_SIZE} bytes"
        )
    return read_at(LENGTH_SIZE, length)


def build_header(sizes: dict[str, int], metadata: dict[str, str]) -> bytes:
    """Return the bytes that precede the entries: the header and its length.

    Args:
        sizes: bytes of each entry by name, in the order of the file; each entry becomes a
            one-dimensional tensor of dtype U8.
        metadata: the value of ``__metadata__``.

    Raises:
        HeaderError: the header is larger than safetensors allows.

    """
    table: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, size in sizes.items():
        table[name] = {"dtype": "U8", "shape": [size], "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(table, separators=(",", ":")).encode()
    # Padded to a multiple of eight bytes, as by the safetensors library.
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_SIZE:
        raise HeaderError(
            f"the header takes {len(text)} bytes, more than the limit of {MAX_HEADER_SIZE}"
        )
    return len(text).to_bytes(LENGTH_SIZE, "little") + text


def _is_string_object(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


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
        raise HeaderError(
            f"entry {name!r}: expected exactly the keys dtype, shape and data_offsets"
        )
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise HeaderError(f"entry {name!r}: unknown dtype {short(dtype)}")
    if not is_shape(shape):
        raise HeaderError(f"entry {name!r}: shape {short(shape)} is not a list of sizes")
    if not _is_range(offsets):
        raise HeaderError(f"entry {name!r}: data_offsets {short(offsets)} is not a range")
    begin, end = offsets
    if (end - begin) * 8 != math.prod(shape) * DTYPE_BITS[dtype]:
        raise HeaderError(
            f"entry {name!r}: {end - begin} bytes do not match shape {short(shape)} of {dtype}"
        )
    return Entry(dtype, tuple(shape), data_start + begin, end - begin)


def check_coverage(entries: dict[str, Entry], start: int, file_size: int) -> None:
    """Raise HeaderError unless the entries cover the file from `start` to its end exactly."""
    ranges = sorted((entry.start, entry.start + entry.size) for entry in entries.values())
    for (_, end), (begin, _) in pairwise([(start, start), *ranges]):
        if end != begin:
            problem = "overlap" if begin < end else "leave a gap"
            raise HeaderError(f"the entries {problem} at byte {min(begin, end)} of {file_size}")
    last = ranges[-1][1] if ranges else start
    if last != file_size:
        problem = "is truncated" if file_size < last else "has bytes after its last entry"
        raise HeaderError(
            f"the file {problem}: it has {file_size} bytes, its entries end at {last}"
        )
