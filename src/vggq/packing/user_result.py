"""Read the numbers that the function of a user returns, and describe what it returns in one line.

Arrays are described by shape and dtype, never by their values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import OptionError
from .summary import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

ORIGINAL: Final = "the original weights"
RESTORED: Final = "restored weights"
"""The weights that a function is called with, for messages."""

_MAX_SHOWN: Final = 200
_MAX_ITEMS: Final = 3
_MAX_DEPTH: Final = 2
_NO_REAL_NUMBERS: Final = "cOSU"
"""The kinds of dtypes of numpy that are no real numbers: complex, objects, bytes and text."""
_VALUES: Final = re.compile(r"\b(array|tensor)\(\[.*")


def evaluation_error(problem: str) -> OptionError:
    """Return the error for an evaluation that fails."""
    return OptionError([("eval", problem)])


def is_number(value: object) -> bool:
    """Whether a value is a real number, also as an array or a tensor of no dimensions."""
    if isinstance(value, bool | np.bool_ | np.character | np.complexfloating):
        return False
    if isinstance(value, np.ndarray) and value.dtype.kind in _NO_REAL_NUMBERS:
        return False
    return isinstance(value, int | float | np.integer | np.floating) or (
        getattr(value, "shape", None) == () and hasattr(value, "item")
    )


def is_table_of_numbers(value: object) -> bool:
    """Whether a value is a dict of numbers that is not empty."""
    return isinstance(value, Mapping) and bool(value) and all(map(is_number, value.values()))


def read_numbers(name: str, result: object, expected: str) -> dict[str, float]:
    """Return a number, or the numbers of a dict, by name.

    Args:
        name: the name of a single number.
        result: what the function returned.
        expected: what it should return, for the message.

    Raises:
        OptionError: the result is something else.

    """
    table: Mapping[Any, Any] = result if isinstance(result, Mapping) else {name: result}
    try:
        if table and all(map(is_number, table.values())):
            return {printable(str(key)): float(value) for key, value in table.items()}
    # Tensors without data and huge integers raise errors of several classes.
    except Exception as error:
        problem = f"{name} returned {show_result(result)}, expected {expected}"
        raise evaluation_error(f"{problem}: {describe_error(error)}") from error
    raise evaluation_error(f"{name} returned {show_result(result)}, expected {expected}")


def check_same_names(
    name: str, kind: str, found: Collection[str], expected: Collection[str]
) -> None:
    """Reject results for restored weights under other names than for the original weights.

    Args:
        name: the name of the function.
        kind: what it returned, in the plural.
        found: the names for restored weights.
        expected: the names for the original weights.

    Raises:
        OptionError: a name is missing or new.

    """
    missing = [key for key in expected if key not in found]
    new = [key for key in found if key not in expected]
    parts = [f"missing {_list_names(missing)}"] if missing else []
    parts += [f"new {_list_names(new)}"] if new else []
    if parts:
        raise evaluation_error(
            f"{name} returned other {kind} with {RESTORED} than with {ORIGINAL}: {', '.join(parts)}"
        )


def _list_names(names: list[str]) -> str:
    shown = ", ".join(shorten(repr(name)) for name in names[:_MAX_ITEMS])
    more = len(names) - _MAX_ITEMS
    return f"{shown} and {more} more" if more > 0 else shown


def show_result(value: object) -> str:
    """Return what a function returned in one line; arrays by their shape and dtype."""
    try:
        return shorten(_describe(value, _MAX_DEPTH))
    except Exception:  # noqa: BLE001 - any object can come from a user
        return f"a {type(value).__name__}"


def _describe(value: Any, depth: int) -> str:
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        return repr(value)
    kind = type(value).__name__
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of shape {tuple(value.shape)} and dtype {_show_dtype(value.dtype)}"
    if isinstance(value, Mapping):
        items = (f"{key!r}: {_describe(item, depth - 1)}" for key, item in value.items())
        return f"a {kind} with {_join(items, len(value), depth)}" if value else f"an empty {kind}"
    if isinstance(value, list | tuple):
        texts = (_describe(item, depth - 1) for item in value)
        return f"a {kind} of {_join(texts, len(value), depth)}" if value else f"an empty {kind}"
    return f"a {kind}"


def _show_dtype(dtype: object) -> str:
    text = str(dtype).removeprefix("torch.")
    return f"{text} (text)" if getattr(dtype, "kind", "") == "U" else text


def _join(texts: Iterable[str], count: int, depth: int) -> str:
    """Return the texts of the first items of a container, or only their number."""
    if depth <= 0:
        return f"{count} items"
    shown = "; ".join(text for text, _ in zip(texts, range(_MAX_ITEMS), strict=False))
    return f"{shown}; … ({count} items)" if count > _MAX_ITEMS else shown


def describe_error(error: BaseException) -> str:
    """Return the class and the message of an error in one line, without the values of arrays."""
    text = shorten(_VALUES.sub(r"\1(…", " ".join(str(error).split())))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def shorten(text: str) -> str:
    """Return the first characters of a text in one line."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= _MAX_SHOWN else f"{line[:_MAX_SHOWN]}…"
