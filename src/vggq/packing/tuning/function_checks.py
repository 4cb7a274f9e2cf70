"""Check that the function of a user depends on the weights, and on nothing that changes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from ...errors import OptionError
from ..user_result import ORIGINAL, evaluation_error
from .metrics import ERROR
from .sensitivity import run_coarsely

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .evaluation import Judge
    from .groups import Group
    from .objective import Objective
    from .trials import TrialRunner

# Threads and GPUs add numbers in another order each time.
_MAX_DIFFERENCE: Final = 1e-6
_MAX_ERROR: Final = 1e-4


def check_repetition(judge: Judge, objective: Objective, argument: object) -> None:
    """Evaluate the original once more, and reject a function whose result is another one.

    Raises:
        OptionError: the results differ by more than rounding errors, or the function raises.

    """
    found = judge.measure(argument, ORIGINAL)
    if objective.smooth:
        if found[ERROR] <= _MAX_ERROR:
            return
        results = f"arrays that differ by an error of {found[ERROR]:.3g}"
    else:
        value = objective.value(found)
        limits = {"rel_tol": _MAX_DIFFERENCE, "abs_tol": _MAX_DIFFERENCE}
        if math.isclose(value, objective.original, **limits):
            return
        results = f"{objective.metric} {objective.original:.9g} and then {value:.9g}"
    raise evaluation_error(
        f"{judge.function.place!r} returned {results} for the same original weights; "
        "it must be deterministic, for example with a fixed seed"
    )


def check_influence(runner: TrialRunner, groups: Sequence[Group], objective: Objective) -> None:
    """Reject a function with the same result if only zeros are left of all quantized weights.

    Raises:
        OptionError: the result is the same.

    """
    try:
        metrics = run_coarsely(runner, groups).metrics
    except OptionError:
        # A function that fails with such weights uses them.
        return
    if objective.effect(metrics):
        return
    judge = runner.judge
    if metrics == judge.original:
        problem = "gives the same result for any weights; does it use its argument?"
    else:
        problem = f"gives the same {objective.metric} for any weights; choose another --metric"
    raise evaluation_error(f"{judge.function.place!r} {problem}")
