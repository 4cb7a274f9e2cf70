"""Tune the options of packing by the answers of the model."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ...errors import OptionError
from .finalists import confirm_best
from .opening import open_run
from .records import Tuned

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from ..encoder import Progress
    from ..options import Options
    from .goal import TuneGoal
    from .objective import Objective
    from .records import Sensitivities, TuneSettings


def tune(
    source: str | os.PathLike[str],
    settings: TuneSettings,
    goal: TuneGoal,
    options: Options,
    *,
    progress: Progress | None = None,
    remark: Callable[[str], None] = lambda _: None,
) -> Tuned:
    """Find options of packing by the answers of the model.

    Args:
        source: the checkpoint, as for `pack`.
        settings: the settings of the run.
        goal: the goal.
        options: the options of reading, and all others that are not tuned.
        progress: called after each trial with the number of trials done, and about the total.
        remark: called with a line about the metric that the user should know before the work.

    Raises:
        OptionError: the function fails, or the goal cannot be met.
        SourceError: the source cannot be read.
        MissingDependencyError: a library is not installed.

    """
    begin = time.monotonic()
    with open_run(source, settings, goal, options, progress) as run:
        original = run.objective.original
        if not goal.passes(original, run.objective):
            raise OptionError([(goal.kind, _unreachable(goal, run.objective))])
        if doubt := goal.doubt(run.objective):
            remark(doubt)
        sensitivities = run.measure()
        finalists, search = run.search(sensitivities)
        objective = run.objective
        history = tuple(
            (s.label, s.trial.size, objective.value(s.trial.metrics)) for s in search.history
        )
        return Tuned(
            goal=goal,
            sensitivities=sensitivities,
            best=confirm_best(run.runner, finalists, objective, goal),
            finalists=tuple(finalists),
            history=history,
            evaluations=run.runner.evaluations,
            seconds=time.monotonic() - begin,
        )


def measure_sensitivity(
    source: str | os.PathLike[str],
    settings: TuneSettings,
    goal: TuneGoal,
    options: Options,
    *,
    progress: Progress | None = None,
) -> Sensitivities:
    """Measure the sensitivity alone; the arguments and errors are those of `tune`."""
    with open_run(source, settings, goal, options, progress) as run:
        return run.measure()


def _unreachable(goal: TuneGoal, objective: Objective) -> str:
    return (
        f"the original weights have {objective.metric} {objective.original:.6g}, the best that "
        f"can be reached, so {goal.describe(objective)} cannot be met"
    )
