"""Import the function of a user that judges a model, and call it."""

from __future__ import annotations

import importlib
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .metrics import (
    COSINE,
    ERROR,
    as_arrays,
    check_numbers,
    compare_arrays,
    evaluation_error,
    is_number,
    is_table_of_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .metrics import Metrics

_MAX_MESSAGE: Final = 300


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
    except (Exception, SystemExit) as error:
        raise evaluation_error(f"{place!r} cannot be imported: {_describe(error)}") from error
    if not callable(found):
        raise evaluation_error(f"{place!r} is not callable")
    file = getattr(module, "__file__", None)
    return Function(place, found, Path(file) if file else None)


@dataclass(slots=True)
class Judge:
    """Measure restored weights by the function of a user.

    Attributes:
        function: the function.
        seed: the seed of the random numbers of Python, numpy and torch before each call.
        original: the metrics of the original.

    """

    function: Function
    seed: int = 0
    original: Metrics = field(default_factory=dict)
    _reference: dict[str, NDArray[Any]] | None = None

    def measure_original(self, argument: object) -> Metrics:
        """Call the function with the original, whose result is the reference for all others.

        Raises:
            OptionError: the function raises, or returns something that is no metric.

        """
        result = self._call(argument, "the original weights")
        if is_number(result) or is_table_of_numbers(result):
            self.original = check_numbers(self.function.name, result)
            return self.original
        self._reference = as_arrays(self.function.name, result)
        self.original = {ERROR: 0.0, COSINE: 1.0}
        return self.original

    @property
    def gives_arrays(self) -> bool:
        """Whether the function returns arrays, so that the metrics compare them."""
        return self._reference is not None

    def measure(self, argument: object) -> Metrics:
        """Return the metrics of restored weights, or of the path of a restored model.

        Raises:
            OptionError: the function raises, or returns something else than for the original.

        """
        name = self.function.name
        result = self._call(argument, "restored weights")
        if self._reference is None:
            found = check_numbers(name, result)
            if found.keys() != self.original.keys():
                raise evaluation_error(
                    f"{name} returned the metrics {', '.join(found)}, but "
                    f"{', '.join(self.original)} for the original weights"
                )
            return found
        return compare_arrays(name, self._reference, as_arrays(name, result))

    def _call(self, argument: object, what: str) -> object:
        self._set_seeds()
        try:
            return self.function.call(argument)
        except (Exception, SystemExit) as error:
            raise evaluation_error(
                f"{self.function.place!r} failed with {what}: {_describe(error)}"
            ) from error

    def _set_seeds(self) -> None:
        random.seed(self.seed)
        np.random.seed(self.seed)  # noqa: NPY002 - the generator that users' functions share
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.manual_seed(self.seed)


def _describe(error: BaseException) -> str:
    """Return the class and the message of an error in one line."""
    text = " ".join(str(error).split())
    if len(text) > _MAX_MESSAGE:
        text = f"{text[:_MAX_MESSAGE]}…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
