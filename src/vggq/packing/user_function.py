"""Import the function of a user that judges a model, and call it.

Whatever such a function does, the user gets one line about it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .user_result import describe_error, evaluation_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_PATH_HINT: Final = (
    "the function gets the path of the restored model, because this source is packed as a model "
    '(restore = "model"); for a source packed as tensors it gets a dict of arrays'
)
_DICT_HINT: Final = (
    "the function gets a dict of arrays, because this source is packed as tensors; it gets the "
    'path of the restored model only for a source packed as a model (restore = "model")'
)


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
        return self.place.rpartition(":")[2]

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
            modules = (self.place.rpartition(":")[0], getattr(self.call, "__module__", ""))
            text = describe_error(error) + _locate(error, *modules)
            problem = f"{self.place!r} failed with {what}: {text}{_hint(argument, error)}"
            raise evaluation_error(problem) from error


def _locate(error: BaseException, *modules: str) -> str:
    """Return the last line of the user's modules that an error passed, in brackets."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_globals.get("__name__") in modules:
            return f" ({Path(frame.f_code.co_filename).name}:{line})"
    return ""


def _hint(argument: object, error: BaseException) -> str:
    """Return what the function gets, if the message of an error is about its argument."""
    text = str(error)
    if isinstance(argument, Path):
        return f"; {_PATH_HINT}" if type(argument).__name__ in text else ""
    is_about = "dict" in text or "array(" in text
    return f"; {_DICT_HINT}" if isinstance(argument, dict) and is_about else ""


def import_function(place: str) -> Function:
    """Import the function at ``module:function``.

    Raises:
        OptionError: there is no such function.

    """
    module_name, _, name = place.rpartition(":")
    if not module_name or not name:
        raise evaluation_error(f"expected MODULE:FUNCTION, found {place!r}")
    if module_name.endswith(".py") or "/" in module_name or "\\" in module_name:
        raise evaluation_error(_explain_path(place, module_name, name))
    module = _import_module(place, module_name)
    found = _find_function(place, module, name)
    file = getattr(module, "__file__", None)
    return Function(place, found, Path(file) if file else None)


def _explain_path(place: str, path: str, name: str) -> str:
    """Return what to write instead of the path of a file."""
    parts = path.replace("\\", "/").removesuffix(".py").removeprefix("./").split("/")
    problem = f"expected MODULE:FUNCTION, found {place!r}"
    if all(part.isidentifier() for part in parts):
        return f"{problem}; did you mean {'.'.join(parts) + ':' + name!r}?"
    return f"{problem}; a module is named without its folder and .py, and {_searched()}"


def _import_module(place: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = f"{place!r} cannot be imported: {describe_error(error)}"
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{name}.".startswith(f"{missing}."):
            raise evaluation_error(f"{text}; it {_searched()}") from error
        text += _locate(error, name)
        if missing:
            text += "; install it in the environment of vggq"
        raise evaluation_error(text) from error


def _searched() -> str:
    # The commands put the current folder on the path.
    folder = "in the current folder and " if "" in sys.path else ""
    return f"is searched {folder}on sys.path"


def _find_function(place: str, module: ModuleType, name: str) -> Callable[[Any], Any]:
    try:
        found = getattr(module, name)
    except KeyboardInterrupt:
        raise
    # A module can have a function `__getattr__`.
    except BaseException as error:
        text = f"{place!r} cannot be imported: {describe_error(error)}"
        functions = [key for key, value in vars(module).items() if callable(value)]
        near = get_close_matches(name, functions, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise evaluation_error(f"{text}{hint}") from error
    if not callable(found):
        raise evaluation_error(f"{place!r} is not callable")
    function: Callable[[Any], Any] = found
    return function
