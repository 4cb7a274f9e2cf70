"""Measure the original and restored weights by the function of a user."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..user_result import (
    ORIGINAL,
    RESTORED,
    check_same_names,
    evaluation_error,
    is_number,
    is_table_of_numbers,
    show_result,
)
from .metrics import (
    COSINE,
    ERROR,
    as_arrays,
    check_numbers,
    compare_arrays,
    summarize_arrays,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..user_function import Function
    from .metrics import Metrics


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
        has_torch = "torch" in sys.modules
        result = self._call(argument, ORIGINAL)
        if not has_torch and "torch" in sys.modules:
            # The function has imported torch itself, whose generator had no seed yet.
            result = self._call(argument, ORIGINAL)
        if is_number(result) or is_table_of_numbers(result):
            self.original = check_numbers(self.function.name, result, ORIGINAL)
            return self.original
        self._reference = as_arrays(self.function.name, result, ORIGINAL)
        self.original = {ERROR: 0.0, COSINE: 1.0}
        return self.original

    def summarize_original(self) -> list[str]:
        """Return texts that differ if the function judges the original by other data."""
        if self._reference is not None:
            return summarize_arrays(self._reference)
        return [f"{name} {value:.6g}" for name, value in self.original.items()]

    @property
    def gives_arrays(self) -> bool:
        """Whether the function returns arrays, so that the metrics compare them."""
        return self._reference is not None

    def measure(self, argument: object, what: str = RESTORED) -> Metrics:
        """Return the metrics of restored weights, or of the path of a restored model.

        Args:
            argument: the weights or the path.
            what: what the argument is, for the message.

        Raises:
            OptionError: the function raises, or returns something else than for the original.

        """
        name = self.function.name
        result = self._call(argument, what)
        self._check_kind(result, what)
        if self._reference is not None:
            return compare_arrays(name, self._reference, as_arrays(name, result, what))
        found = check_numbers(name, result, what)
        check_same_names(name, "metrics", found, self.original)
        return found

    def _check_kind(self, result: object, what: str) -> None:
        """Reject arrays if the function returned numbers for the original, and the reverse."""
        are_numbers = is_number(result) or is_table_of_numbers(result)
        if are_numbers == (self._reference is None):
            return
        before = "numbers" if self._reference is None else "arrays"
        raise evaluation_error(
            f"{self.function.name} returned {show_result(result)} with {what}, but {before} "
            f"with {ORIGINAL}"
        )

    def _call(self, argument: object, what: str) -> object:
        self._set_seeds()
        return self.function.run(argument, what)

    def _set_seeds(self) -> None:
        random.seed(self.seed)
        np.random.seed(self.seed)  # noqa: NPY002 - the generator that users' functions share
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.manual_seed(self.seed)
