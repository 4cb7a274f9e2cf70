"""Options of packing that give exactly the file of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..encoder import first_scale
from ..evaluations import Evaluation
from .plans import options_for

if TYPE_CHECKING:
    from ..options import Options
    from .objective import Objective
    from .plans import Plan
    from .trials import TrialRunner

# About as many digits as a result has: a record that is longer than expected enlarges the file.
_RESULT: Final = 0.012345678901234567

# A search for a size ends with the first file that fills it to 0.999. Factors and names take some
# bytes that a trial does not have.
_ROOM: Final = 1.0003
_ROUNDS: Final = 4


def placeholder(objective: Objective) -> Evaluation:
    """Return an evaluation that takes about as many bytes as the real one."""
    return Evaluation(objective.metric, objective.original, _RESULT, "0" * 64)


def exact_options(runner: TrialRunner, plan: Plan, evaluation: Evaluation | None) -> Options:
    """Return options whose first attempt for a size has the step sizes of a plan.

    The size is slightly above that of the file, so that the first attempt is the result.

    Args:
        runner: runs the trials.
        plan: the plan.
        evaluation: what the file records, or a placeholder; None for nothing.

    """
    size = runner.encoder.estimate_size(plan)
    base = runner.encoder.options.with_evaluation(evaluation.to_table() if evaluation else None)
    for _ in range(_ROUNDS):
        limit = int(size * _ROOM) + 1
        unscaled = options_for(plan, base, limit, runner.encoder.names)
        scale = 2.0 ** first_scale(runner.encoder.source, unscaled, limit)
        options = options_for(plan, base, limit, runner.encoder.names, scale)
        found = runner.encoder.measure_size(options, plan)
        if found <= limit and found * _ROOM > limit - 2:
            return options
        size = found
    return options
