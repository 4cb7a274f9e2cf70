"""The header of a safetensors checkpoint, with everything that the safetensors library accepts.

The library ignores unknown keys of an entry, treats null metadata as none, and takes the last of
two equal keys where it does not look for that key. In all cases the entries must cover the file, so
no tensor gets lost. The header of packed files is stricter: see `vggq._container`.
"""

from __future__ import annotations

import json
from collections import Counter
from reprlib import repr as short
from typing import Any, Final

from ..._container import (
    DTYPE_BITS,
    LENGTH_SIZE,
    Entry,
    Header,
    ReadAt,
    check_coverage,
    read_header_text,
)
from ...errors import HeaderError

_METADATA: Final = "__metadata__"
_FIELDS: Final = ("dtype", "shape", "data_offsets")
_DTYPE_BITS: Final = {**DTYPE_BITS, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8}
_MAX_NUMBER: Final = (1 << 64) - 1


def read_checkpoint_header(read_at: ReadAt, file_size: int) -> Header:
    """Read and validate the header of a checkpoint.

    Its entries may have dtypes that the library does not know, and any shape.

    Raises:
        HeaderError: the library would refuse the header.

    """
    text = read_header_text(read_at, file_size)
    table = _parse_json(text)
    metadata = _parse_metadata(table.pop(_METADATA, None))
    start = LENGTH_SIZE + len(text)
    entries = {name: _parse_entry(name, value, start) for name, value in table.items()}
    check_coverage(entries, start, file_size)
    return Header(entries, metadata)


def _parse_json(text: bytes) -> dict[str, Any]:
    try:
        table = json.loads(
            text.decode(), object_pairs_hook=_build_object, parse_constant=_reject_constant
        )
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"not valid JSON: {error}") from error
    if not isinstance(table, dict):
        raise HeaderError("not a JSON object")
    return table


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    counts = Counter(key for key, _ in pairs)
    if repeated := [key for key in (*_FIELDS, _METADATA) if counts[key] > 1]:
        raise ValueError(f"an object has the key {repeated[0]!r} twice")
    return dict(pairs)


def _reject_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _parse_metadata(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise HeaderError("__metadata__ is not an object of strings")
    return value


def _parse_entry(name: str, value: Any, data_start: int) -> Entry:
    if not isinstance(value, dict) or not value.keys() >= set(_FIELDS):
        raise HeaderError(f"entry {name!r}: expected the keys dtype, shape and data_offsets")
    dtype, shape, offsets = (value[field] for field in _FIELDS)
    if not isinstance(dtype, str):
        raise HeaderError(f"entry {name!r}: the dtype {short(dtype)} is not a string")
    if not _is_numbers(shape):
        raise HeaderError(f"entry {name!r}: shape {short(shape)} is not a list of sizes")
    if not _is_numbers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise HeaderError(f"entry {name!r}: data_offsets {short(offsets)} is not a range")
    begin, end = offsets
    bits = _DTYPE_BITS.get(dtype)
    if bits is not None and (end - begin) * 8 != _count(shape) * bits:
        raise HeaderError(
            f"entry {name!r}: {end - begin} bytes do not match shape {short(shape)} of {dtype}"
        )
    return Entry(dtype, tuple(shape), data_start + begin, end - begin)


def _count(shape: list[int]) -> int:
    """Return the number of elements, or any larger number than a file has bytes."""
    count = 0 if 0 in shape else 1
    for size in shape:
        count *= size
        # The product of a hostile list would take forever.
        if count > _MAX_NUMBER:
            break
    return count


def _is_numbers(value: Any) -> bool:
    """Return whether a value is a list of integers of 64 bits without a sign."""
    return isinstance(value, list) and all(
        type(item) is int and 0 <= item <= _MAX_NUMBER for item in value
    )
