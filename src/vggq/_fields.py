"""The tests that a manifest's fields have to pass, and the error where one does not."""

from __future__ import annotations

import math
from reprlib import repr as short
from typing import TYPE_CHECKING, Any, Final

from ._container import is_count
from ._dtypes import STORAGE
from .errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable

DIGEST_LENGTH: Final = 64
"""Hexadecimal digits of a SHA-256."""


def require_keys(table: dict[str, Any], keys: set[str], where: str) -> None:
    if table.keys() != keys:
        odd = ", ".join(sorted(set(table) ^ keys))
        raise ManifestError(f"{where}: missing or unknown: {short(odd)}")


def require_field(
    table: dict[str, Any], key: str, test: Callable[[object], bool], expected: str, where: str
) -> Any:
    value = table.get(key)
    if not test(value):
        raise ManifestError(f"{where}: {key} is {short(value)}, expected {expected}")
    return value


def is_text(value: object) -> bool:
    """Whether a value is a string that UTF-8 can hold: no half of a surrogate pair."""
    return isinstance(value, str) and (
        value.isascii() or value == value.encode(errors="replace").decode()
    )


def is_table(value: object) -> bool:
    return isinstance(value, dict)


def is_plain(value: object) -> bool:
    """Whether a value of JSON is one: no infinity, no text that UTF-8 cannot hold."""
    if isinstance(value, dict):
        return all(is_text(key) and is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return is_text(value) or not isinstance(value, str)


def is_plain_table(value: object) -> bool:
    return is_table(value) and is_plain(value)


def is_list(value: object) -> bool:
    return isinstance(value, list)


def is_dtype(value: object) -> bool:
    return isinstance(value, str) and value in STORAGE


def is_digest(value: object) -> bool:
    return (
        isinstance(value, str)
        and len(value) == DIGEST_LENGTH
        and set(value) <= set("0123456789abcdef")
    )


def is_measure(value: object) -> bool:
    return is_count(value) or (isinstance(value, float) and 0 <= value < math.inf)
