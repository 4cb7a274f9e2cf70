"""Validate the value of each option; each function raises ValueError with the problem."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from .._dtypes import ML_DTYPES
from .._fields import is_text
from .goals import EFFORTS, MAX_BITS, MAX_SQNR, OBJECTIVES, SCALES, Bits, Override, Sqnr
from .optional import require

LAYOUTS: Final = ("torch",)
RESTORES: Final = ("model", "tensors")
DECLARABLE_DTYPES: Final = tuple(ML_DTYPES.values())
"""The dtypes that numpy lacks, by their names in ml_dtypes."""

_ROOT_KEY: Final = "."
_OVERRIDE_KEYS: Final = frozenset({"bits", "sqnr", "scale"})

# As many as a tensor may have.
_MAX_AXES: Final = 32

# RFC 3987, without the characters that it excludes.
_URL: Final = re.compile(r"https?://[^\s<>\"{}|\\^`]+")


def parse_bits(value: object) -> int:
    if type(value) is not int or not 1 <= value <= MAX_BITS:
        raise ValueError(f"expected an integer from 1 to {MAX_BITS}, found {value!r}")
    return value


def parse_sqnr(value: object) -> float:
    # bool is a subclass of int.
    if type(value) not in (int, float) or not 0 < value <= MAX_SQNR:  # type: ignore[operator]
        raise ValueError(f"expected decibels above 0 and up to {MAX_SQNR}, found {value!r}")
    return value  # type: ignore[return-value]


def parse_objective(value: object) -> str:
    return _one_of(OBJECTIVES, value)


def parse_layout(value: object) -> str:
    return _one_of(LAYOUTS, value)


def parse_restore(value: object) -> str:
    return _one_of(RESTORES, value)


def _one_of(choices: tuple[str, ...], value: object) -> str:
    if value not in choices:
        raise ValueError(f"expected {' or '.join(map(repr, choices))}, found {value!r}")
    return str(value)


def parse_dependent(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, found {value!r}")  # noqa: TRY004
    return value


def parse_effort(value: object) -> str:
    return _one_of(tuple(EFFORTS), value)


def parse_scale(value: object) -> str | int:
    """Return an axis by number, counted from the last one if it is negative, or by a word."""
    if type(value) is int and -_MAX_AXES <= value < _MAX_AXES:
        return value
    if value not in SCALES:
        words = ", ".join(map(repr, SCALES))
        raise ValueError(f"expected the number of an axis, or one of {words}, found {value!r}")
    return str(value)


def parse_key(value: object) -> str | tuple[str, ...]:
    """Return one key, or several of them as a tuple."""
    if isinstance(value, str) and value:
        return value
    keys = _items(value)
    if not keys or not all(isinstance(key, str) and key for key in keys):
        raise ValueError(f"expected the key of a dict, or a list of keys, found {value!r}")
    repeated = next((key for at, key in enumerate(keys) if key in keys[:at]), None)
    if repeated is not None:
        raise ValueError(f"expected a list of different keys, found {repeated!r} twice")
    if _ROOT_KEY in keys:
        raise ValueError(f"expected keys of dicts in the checkpoint, found {_ROOT_KEY!r} in a list")
    return keys


def parse_patterns(value: object) -> tuple[str, ...]:
    patterns = _items(value)
    if patterns is None or not all(map(_is_pattern, patterns)):
        raise ValueError(f"expected a list of patterns such as '*.bias', found {value!r}")
    return patterns


def _items(value: object) -> tuple[Any, ...] | None:
    """Return the items of a list; None for anything else, a single string included."""
    is_list = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
    return tuple(value) if is_list else None  # type: ignore[arg-type]


def _is_pattern(item: object) -> bool:
    return isinstance(item, str) and bool(item)


def parse_rename(value: object) -> tuple[tuple[str, str], ...]:
    """Return pairs of a regular expression and its replacement, in order."""
    pairs = _pairs(value, "expected a table of regular expressions and their replacements")
    for pair in pairs:
        _check_replacement(*pair)
    return pairs


def parse_dtypes(value: object) -> tuple[tuple[str, str], ...]:
    """Return pairs of a pattern of names and a dtype, in order."""
    expected = "expected a table of patterns and their dtypes, such as { '*.weight' = 'bfloat16' }"
    pairs = _pairs(value, expected)
    for pattern, dtype in pairs:
        if not pattern or dtype not in DECLARABLE_DTYPES:
            choices = " or ".join(map(repr, DECLARABLE_DTYPES))
            raise ValueError(f"expected a pattern and {choices}, found {pattern!r} = {dtype!r}")
    return pairs


def _pairs(value: object, expected: str) -> tuple[tuple[str, str], ...]:
    """Return the items of a table of strings, in order; it may be a list of pairs as well."""
    pairs = _items(value.items() if isinstance(value, Mapping) else value)
    if pairs is None:
        raise ValueError(f"{expected}, found {value!r}")
    for pair in pairs:
        if not isinstance(pair, list | tuple) or [type(item) for item in pair] != [str, str]:
            raise ValueError(f"{expected}, found {pair!r}")
    return tuple((first, second) for first, second in pairs)


def _check_replacement(pattern: str, replacement: str) -> None:
    try:
        re.compile(pattern)
        # Replacing an empty match checks the group references of the replacement as well.
        re.sub(pattern + "|", replacement, "")
    except (re.error, IndexError, OverflowError, RecursionError) as error:
        raise ValueError(f"{pattern!r} = {replacement!r} is not a replacement: {error}") from error


def parse_overrides(value: object) -> tuple[Override, ...]:
    expected = 'expected a list of tables such as { match = "conv1.*", bits = 8 }'
    items = _items(value)
    if items is None:
        raise ValueError(f"{expected}, found {value!r}")
    try:
        return tuple(map(_parse_override, items))
    except ValueError as error:
        raise ValueError(f"{expected}, found {error}") from error


def _parse_override(item: object) -> Override:
    if isinstance(item, Override):
        return item
    if not isinstance(item, Mapping) or not isinstance(item.get("match"), str):
        raise ValueError(repr(item))  # noqa: TRY004
    values = {key: value for key, value in item.items() if key != "match"}
    if not values or values.keys() - _OVERRIDE_KEYS or {"bits", "sqnr"} <= values.keys():
        raise ValueError(f"{item!r}, which needs bits or sqnr, or scale, or one of each")
    try:
        return Override(item["match"], _parse_override_goal(values), _parse_override_scale(values))
    except ValueError as error:
        raise ValueError(f"{item!r}: {error}") from error


def _parse_override_goal(values: Mapping[str, object]) -> Bits | Sqnr | None:
    if "bits" in values:
        return Bits(parse_bits(values["bits"]))
    return Sqnr(parse_sqnr(values["sqnr"])) if "sqnr" in values else None


def _parse_override_scale(values: Mapping[str, object]) -> str | int | None:
    return parse_scale(values["scale"]) if "scale" in values else None


def parse_license(value: object) -> str:
    """Return a canonical SPDX expression.

    Raises:
        ValueError: the value is not one; the message has the canonical spelling if there is one.
        MissingDependencyError: packaging is not installed.

    """
    expected = "expected an SPDX expression such as 'CC-BY-4.0' or 'LicenseRef-My-Terms'"
    if not isinstance(value, str) or not value:
        raise ValueError(f"{expected}, found {value!r}")
    licenses = require("packaging.licenses", "build")
    try:
        canonical = licenses.canonicalize_license_expression(value)
    except licenses.InvalidLicenseExpression as error:
        raise ValueError(f"{expected}, found {value!r}") from error
    if canonical != value:
        raise ValueError(f"expected {canonical!r}, found {value!r}")
    return value


def parse_description(value: object) -> str:
    if not isinstance(value, str) or not value or not is_text(value):
        raise ValueError(f"expected text, found {value!r}")
    return value


def parse_url(value: object) -> str:
    if not isinstance(value, str) or not _URL.fullmatch(value):
        raise ValueError(f"expected a URL such as 'https://example.org/model', found {value!r}")
    return value
