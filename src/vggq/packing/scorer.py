"""Score weights by the function of a user, for a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .user_result import (
    ORIGINAL,
    RESTORED,
    check_same_names,
    evaluation_error,
    is_number,
    read_numbers,
)

if TYPE_CHECKING:
    from .user_function import Function

_EXPECTED: Final = "a number or a dict of numbers"
_ARRAYS: Final = "; for arrays use --each or `vggq tune`"


@dataclass(slots=True)
class Scorer:
    """Score weights by the function of a user.

    Attributes:
        function: the function.

    """

    function: Function
    _names: tuple[str, ...] | None = None

    def __call__(self, argument: object) -> dict[str, float]:
        """Return the scores of the original in the first call, and of restored weights later.

        Args:
            argument: the state dict, or the path of a model.

        Raises:
            OptionError: the function raises, or returns something else than numbers, NaN, or other
                scores than in the first call.

        """
        what = ORIGINAL if self._names is None else RESTORED
        name = self.function.name
        result = self.function.run(argument, what)
        expected = f"{_EXPECTED}{_ARRAYS}" if _has_arrays(result) else _EXPECTED
        scores = read_numbers(name, result, expected)
        # Infinity stays: a loss of ruined weights can overflow.
        for key, value in scores.items():
            if math.isnan(value):
                raise evaluation_error(f"{name} returned nan for the metric {key!r} with {what}")
        check_same_names(name, "scores", scores, self._names or scores)
        self._names = tuple(scores)
        return scores


def _has_arrays(result: Any) -> bool:
    """Whether a result is an array, or a list or dict of arrays."""
    values = result.values() if isinstance(result, Mapping) else [result]
    return any(isinstance(v, list | tuple) or _is_array(v) for v in values)


def _is_array(value: object) -> bool:
    return hasattr(value, "shape") and not is_number(value)
