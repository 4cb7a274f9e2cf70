"""Files that were packed as `pack` does it, and the last evaluation of the best one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ..evaluations import Evaluation
from .packing import exact_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..options import Options
    from .objective import Objective
    from .plans import Plan
    from .trials import Trial, TrialRunner

_MAX_CONFIRMATIONS: Final = 4


@dataclass(frozen=True, slots=True)
class Finalist:
    """Options that were packed exactly as `pack` does it, with the result.

    Attributes:
        label: what they are, for a reader.
        options: the options.
        trial: the result.
        plan: the plan that they follow; None for options that follow none.

    """

    label: str
    options: Options
    trial: Trial
    plan: Plan | None = None


def confirm_best(
    runner: TrialRunner, finalists: Sequence[Finalist], objective: Objective
) -> Finalist:
    """Confirm the first file; if its tensors have changed, the second one may be better."""
    best = confirm(runner, finalists[0], objective)
    if best.trial.sha256 == finalists[0].trial.sha256 or len(finalists) == 1:
        return best
    other = confirm(runner, finalists[1], objective)
    return min((best, other), key=lambda f: objective.cost(f.trial.metrics))


def confirm(runner: TrialRunner, finalist: Finalist, objective: Objective) -> Finalist:
    """Pack and evaluate a file once more, with the result recorded in it.

    The record changes the size of the header, and so it can change the file for a size. A file that
    has no room for a record is returned unchanged.
    """
    if finalist.options.evaluation is None:
        return finalist
    for _ in range(_MAX_CONFIRMATIONS):
        trial = finalist.trial
        value = objective.value(trial.metrics)
        found = Evaluation(objective.metric, objective.original, value, trial.sha256)
        if finalist.plan is None:
            options = finalist.options.with_evaluation(found.to_table())
        else:
            options = exact_options(runner, finalist.plan, found)
        finalist = replace(finalist, options=options, trial=runner.pack(options))
        if finalist.trial.sha256 == trial.sha256:
            break
    return finalist
