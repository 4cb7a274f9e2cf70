"""Files that were packed as `pack` does it, and the last evaluation of the best one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ...errors import OptionError
from ..evaluations import Evaluation
from .packing import exact_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..options import Options
    from .goal import TuneGoal
    from .objective import Objective
    from .plans import Plan
    from .trial import Trial
    from .trials import TrialRunner

_MAX_CONFIRMATIONS: Final = 4
_MAX_CONFIRMED: Final = 2


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
    runner: TrialRunner, finalists: Sequence[Finalist], objective: Objective, goal: TuneGoal
) -> Finalist:
    """Confirm the first file; if its tensors have changed, the next one may be better.

    Raises:
        OptionError: no file that records its evaluation meets the goal.

    """
    confirmed: list[Finalist] = []
    for finalist in finalists:
        found = confirm(runner, finalist, objective)
        if not goal.is_met(found.trial.size, objective.value(found.trial.metrics), objective):
            continue
        confirmed.append(found)
        if found.trial.sha256 == finalist.trial.sha256 or len(confirmed) == _MAX_CONFIRMED:
            break
    if not confirmed:
        problem = f"{goal.describe(objective)} was not met once the file recorded its evaluation"
        raise OptionError([(goal.kind, f"{problem}; ask for a little less")])
    return min(confirmed, key=lambda f: _rank(f.trial, objective, goal))


def _rank(trial: Trial, objective: Objective, goal: TuneGoal) -> tuple[float, float]:
    """Return the cost and the size, the one that the goal is about first."""
    cost = objective.cost(trial.metrics)
    return (cost, trial.size) if goal.is_size else (trial.size, cost)


def confirm(runner: TrialRunner, finalist: Finalist, objective: Objective) -> Finalist:
    """Pack and evaluate a file once more, with the result recorded in it.

    The record changes the size of the header, and so it can change the file for a size. A file that
    has no room for a record is returned unchanged. If every record changes the tensors that it was
    measured on, the result has none.
    """
    if finalist.options.evaluation is None:
        return finalist
    for _ in range(_MAX_CONFIRMATIONS):
        trial = finalist.trial
        value = objective.value(trial.metrics)
        found = Evaluation(objective.metric, objective.original, value, trial.sha256)
        finalist = _pack_again(runner, finalist, found)
        if finalist.trial.sha256 == trial.sha256:
            return finalist
    return _pack_again(runner, finalist, None)


def _pack_again(runner: TrialRunner, finalist: Finalist, evaluation: Evaluation | None) -> Finalist:
    """Pack and evaluate a file with a record, or without one."""
    if finalist.plan is not None:
        options = exact_options(runner, finalist.plan, evaluation)
    else:
        options = finalist.options.with_evaluation(evaluation.to_table() if evaluation else None)
    return replace(finalist, options=options, trial=runner.pack(options))
