"""The fields of a tensor (TensorProto) of an ONNX model.

https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ...._json import MAX_DIMENSIONS
from ._numbers import (
    FIXED32,
    FIXED64,
    LENGTH_DELIMITED,
    MAX_VARINT_SIZE,
    VARINT,
    decode_few_varints,
    key_of,
    wire_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._wire import Field, Span, WireFile

FLOAT_DATA, INT32_DATA, INT64_DATA, DOUBLE_DATA, UINT64_DATA = 4, 5, 7, 10, 11
_ITEM_SIZES: Final = {FLOAT_DATA: 4, DOUBLE_DATA: 8}
_VALUE_KEYS: Final = frozenset(
    key_of(number, wire_type)
    for number, single in {
        FLOAT_DATA: FIXED32,
        INT32_DATA: VARINT,
        INT64_DATA: VARINT,
        DOUBLE_DATA: FIXED64,
        UINT64_DATA: VARINT,
    }.items()
    for wire_type in (single, LENGTH_DELIMITED)
)
_DIMS: Final = (key_of(1, VARINT), key_of(1))
_DATA_TYPE: Final = key_of(2, VARINT)
_SEGMENT: Final = key_of(3)
_NAME: Final = key_of(8)
_RAW_DATA: Final = key_of(9)
_EXTERNAL_DATA: Final = key_of(13)
_DATA_LOCATION: Final = key_of(14, VARINT)
_ENTRY_KEY, _ENTRY_VALUE = key_of(1), key_of(2)

_MAX_TEXT_SIZE: Final = 1 << 16
_LOCATIONS: Final = (0, 1)
_EXTERNAL: Final = 1


@dataclass(slots=True)
class Tensor:
    """A tensor, as the model describes it.

    Attributes:
        name: the span of its name in the file; None if it has none.
        dims: its shape, which may be invalid. Beyond `MAX_DIMENSIONS` sizes there may be more.
        data_type: the number of its dtype.
        is_segment: whether it is only a part of a tensor.
        is_external: whether its values are in another file.
        external_data: the entries that say where they are.
        raw_data: the span of its values as bytes; None if it has none.
        values: its values as lists of numbers, by the number of the field.

    """

    name: Span | None = None
    dims: list[int] = field(default_factory=list)
    data_type: int = 0
    is_segment: bool = False
    is_external: bool = False
    external_data: list[Span] = field(default_factory=list)
    raw_data: Span | None = None
    values: dict[int, list[Field]] = field(default_factory=dict)


def parse_tensor(file: WireFile, spans: Iterable[Span]) -> Tensor:
    """Return a tensor.

    Of a field that occurs several times the last one counts, as in protobuf, or all if it is a
    list.

    Raises:
        SourceError: it is damaged.

    """
    tensor = Tensor()
    for found in file.fields(spans):
        key, start, stop = found
        if key in _VALUE_KEYS:
            _add_values(tensor, found)
        elif key == _RAW_DATA:
            tensor.raw_data = start, stop
        elif key in _DIMS:
            _add_dims(file, tensor, found)
        elif key == _DATA_TYPE:
            tensor.data_type = _signed(_last_number(file, found), 32)
        elif key == _NAME:
            tensor.name = start, stop
        elif key == _EXTERNAL_DATA:
            tensor.external_data.append((start, stop))
        elif key == _DATA_LOCATION:
            _set_location(file, tensor, found)
        elif key == _SEGMENT:
            tensor.is_segment = True
    return tensor


def parse_external_data(file: WireFile, tensor: Tensor) -> dict[str, str]:
    """Return the entries that say where the values of a tensor are.

    Raises:
        SourceError: an entry is damaged.

    """
    entries = {}
    for span in tensor.external_data:
        entry = file.collect([span], (_ENTRY_KEY, _ENTRY_VALUE))
        key, value = (
            file.peek(entry[part][-1], _MAX_TEXT_SIZE) if part in entry else b""
            for part in (_ENTRY_KEY, _ENTRY_VALUE)
        )
        # File names may have bytes that are no UTF-8.
        entries[_to_path_text(key)] = _to_path_text(value)
    return entries


def _add_values(tensor: Tensor, found: Field) -> None:
    number, size = found.key >> 3, found.stop - found.start
    if found.key & 7 == LENGTH_DELIMITED and size % _ITEM_SIZES.get(number, 1):
        raise wire_error(f"the {size} bytes at byte {found.start} are no list of numbers")
    if size:
        tensor.values.setdefault(number, []).append(found)


def _to_path_text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _add_dims(file: WireFile, tensor: Tensor, found: Field) -> None:
    missing = MAX_DIMENSIONS + 1 - len(tensor.dims)
    if found.key & 7 == LENGTH_DELIMITED:
        if found.stop - found.start > MAX_DIMENSIONS * MAX_VARINT_SIZE:
            # More than are supported, however long each of them is.
            tensor.dims += [1] * missing
            return
        numbers = decode_few_varints(file.peek((found.start, found.stop)))
    else:
        numbers = _numbers(file, found)
    tensor.dims += [_signed(number, 64) for number in numbers[:missing]]


def _set_location(file: WireFile, tensor: Tensor, found: Field) -> None:
    # protobuf ignores the numbers of an enumeration that it does not know.
    known = [number for number in _numbers(file, found) if _signed(number, 32) in _LOCATIONS]
    if known:
        tensor.is_external = _signed(known[-1], 32) == _EXTERNAL


def _last_number(file: WireFile, found: Field) -> int:
    return _numbers(file, found)[-1]


def _numbers(file: WireFile, found: Field) -> list[int]:
    """Return the numbers of a run, which alternate with keys."""
    return decode_few_varints(file.peek((found.start, found.stop)))[1::2]


def _signed(number: int, bits: int) -> int:
    """Return an integer whose lower bits are in two's complement."""
    half = 1 << (bits - 1)
    return (number + half) % (1 << bits) - half
