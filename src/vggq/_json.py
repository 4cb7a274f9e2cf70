"""JSON objects, parsed strictly, and tests of their values."""

from __future__ import annotations

import json
from typing import Any, Final

from .errors import HeaderError

MAX_DIMENSIONS: Final = 32
"""Maximum number of axes of a tensor: the limit of numpy 1."""

_MAX_COUNT: Final = 2**53


def parse_json(text: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        HeaderError: the text is not UTF-8, not JSON or not an object, or an object in it has a
            key twice.

    """
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
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("an object has a key twice")
    return table


def _reject_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def is_count(value: object) -> bool:
    """Whether a JSON value is an integer from 0 to 2^53, beyond which JSON is not portable."""
    return type(value) is int and 0 <= value <= _MAX_COUNT


def is_shape(value: object) -> bool:
    """Whether a JSON value is a list of at most 32 counts, whose product is a count as well.

    Zeros are left out of the product, because numpy refuses shapes such as (2**60, 2**60, 0), too.
    """
    if not isinstance(value, list) or len(value) > MAX_DIMENSIONS:
        return False
    product = 1
    for size in value:
        if type(size) is not int or size < 0:
            return False
        product *= size or 1
    # The product is at least as large as each size.
    return product <= _MAX_COUNT
