"""Import the function of a user that judges a model, call it, and read the numbers it returns.

Whatever such a function does, the user gets one line about it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import OptionError
from .summary import printable

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_SHOWN: Final = 300


def evaluation_error(problem: str) -> OptionError:
    """Return the error for an evaluation that fails."""
    return OptionError([("eval", problem)])


@dataclass(frozen=True, slots=True)
class Function:
    """The function of a user.

    Attributes:
        place: the module and the name, as they were given.
        call: the function.
        file: the file of its module; None if it has none.

    """

    place: str
    call: Callable[[Any], Any]
    file: Path | None = None

    @property
    def name(self) -> str:
        """The name of the function in its module."""
        return self.place.partition(":")[2]

    def run(self, argument: object, what: str) -> object:
        """Call the function; the current folder is the same afterwards.

        Args:
            argument: the state dict, or the path of a model.
            what: what the argument is, for the message.

        Raises:
            OptionError: the function raises.

        """
        try:
            with contextlib.chdir(os.curdir):
                return self.call(argument)
        except KeyboardInterrupt:
            raise
        # `sys.exit` and the failures of test libraries are no Exception.
        except BaseException as error:
            problem = f"{self.place!r} failed with {what}: {describe_error(error)}"
            raise evaluation_error(problem) from error


def import_function(place: str) -> Function:
    """Import the function at ``module:function``.

    Raises:
        OptionError: there is no such function.

    """
    module_name, _, name = place.partition(":")
    if not module_name or not name:
        raise evaluation_error(f"expected MODULE:FUNCTION, found {place!r}")
    try:
        module = importlib.import_module(module_name)
        found = getattr(module, name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise evaluation_error(f"{place!r} cannot be imported: {describe_error(error)}") from error
    if not callable(found):
        raise evaluation_error(f"{place!r} is not callable")
    file = getattr(module, "__file__", None)
    return Function(place, found, Path(file) if file else None)


def is_number(value: object) -> bool:
    """Whether a value is a real number, also as an array or a tensor of no dimensions."""
    if isinstance(value, bool | np.bool_ | np.character | np.complexfloating):
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
        if all(map(is_number, table.values())):
            return {printable(str(key)): float(value) for key, value in table.items()}
    # Tensors without data and huge integers raise errors of several classes.
    except Exception as error:
        problem = f"{name} returned {show_result(result)}, expected {expected}"
        raise evaluation_error(f"{problem}: {describe_error(error)}") from error
    raise evaluation_error(f"{name} returned {show_result(result)}, expected {expected}")


def show_result(value: object) -> str:
    """Return what a function returned, shortened to one line."""
    try:
        return _shorten(repr(value))
    except Exception:  # noqa: BLE001 - any object can come from a user
        return f"a {type(value).__name__}"


def describe_error(error: BaseException) -> str:
    """Return the class and the message of an error in one line."""
    text = _shorten(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _shorten(text: str) -> str:
    """Return the first characters of a text in one line."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= _MAX_SHOWN else f"{line[:_MAX_SHOWN]}…"
