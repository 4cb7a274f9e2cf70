"""Tests of single fields of a manifest, and the errors for those that fail."""

from __future__ import annotations

import math
from reprlib import repr as short
from typing import TYPE_CHECKING, Any, Final

from ._dtypes import STORAGE
from ._json import is_count
from .errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DIGEST_LENGTH: Final = 64
"""Hexadecimal digits of a SHA-256."""

MAX_DEPTH: Final = 32
"""Maximum number of arrays and objects within each other in a field of any JSON."""


def require_keys(table: dict[str, Any], keys: set[str], prefix: str = "") -> None:
    """Raise ManifestError unless the table has exactly these keys.

    Args:
        table: a JSON object.
        keys: the expected keys.
        prefix: the first words of the message, such as ``"source: "``.

    """
    if table.keys() == keys:
        return
    problems = {"missing": keys - table.keys(), "unknown": table.keys() - keys}
    for problem, found in problems.items():
        if found:
            raise ManifestError(f"{prefix}{problem} keys: {short(', '.join(sorted(found)))}")


def require_field(
    table: dict[str, Any],
    key: str,
    test: Callable[[object], bool],
    expected: str,
    prefix: str = "",
) -> Any:
    """Return the value of a key.

    Args:
        table: a JSON object.
        key: the key.
        test: returns whether a value is valid.
        expected: a description of the valid values.
        prefix: the first words of the message, such as ``"source: "``.

    Raises:
        ManifestError: the key is missing, or its value is not valid.

    """
    value = table.get(key)
    if not test(value):
        raise ManifestError(f"{prefix}{key} is {short(value)}, expected {expected}")
    return value


def require_valid(
    table: dict[str, Any], rules: Iterable[tuple[str, Callable[[object], bool], str]]
) -> None:
    """Raise ManifestError for the first value that is not valid.

    Args:
        table: a JSON object that has all the keys.
        rules: the arguments of `require_field` for each key.

    """
    for key, test, expected in rules:
        if not test(table[key]):
            require_field(table, key, test, expected)


def is_text(value: object) -> bool:
    """Whether a value is a string that UTF-8 can encode: it has no lone surrogates."""
    return isinstance(value, str) and (
        value.isascii() or value == value.encode(errors="replace").decode()
    )


def is_object(value: object) -> bool:
    return isinstance(value, dict)


def is_json(value: object, depth: int = MAX_DEPTH) -> bool:
    """Whether a parsed JSON value is portable.

    It has no infinities and no text that UTF-8 cannot encode, and at most `depth` levels of arrays
    and objects, so that it can be processed recursively.
    """
    if isinstance(value, dict):
        return depth > 0 and all(
            is_text(key) and is_json(item, depth - 1) for key, item in value.items()
        )
    if isinstance(value, list):
        return depth > 0 and all(is_json(item, depth - 1) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return is_text(value) or not isinstance(value, str)


def is_json_object(value: object) -> bool:
    return is_object(value) and is_json(value)


def is_list(value: object) -> bool:
    return isinstance(value, list)


def is_dtype(value: object) -> bool:
    """Whether a value is the safetensors name of a dtype that can be stored."""
    return isinstance(value, str) and value in STORAGE


def is_digest(value: object) -> bool:
    """Whether a value is a SHA-256 in lower-case hexadecimal digits."""
    return (
        isinstance(value, str)
        and len(value) == DIGEST_LENGTH
        and set(value) <= set("0123456789abcdef")
    )


def is_nonnegative(value: object) -> bool:
    """Whether a value is a finite number of at least 0; of integers, only counts."""
    return (isinstance(value, float) and 0 <= value < math.inf) or is_count(value)
