"""Pack the best plans within a size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..goals import OBJECTIVES, Bits, Size
from .finalists import Finalist
from .packing import exact_options, placeholder
from .plans import move_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..options import Options
    from .candidates import Candidate
    from .plans import Plan
    from .search import PlanSearch

_MAX_MOVES: Final = 64


def finish_size(
    search: PlanSearch,
    find_plans: Callable[[], Sequence[Candidate]],
    size: int,
) -> list[Finalist]:
    """Return the files within a size, the best first: of the plans, and of common options.

    If all tensors fit exactly, there are only those of common options.

    Args:
        search: runs and compares the trials.
        find_plans: called for the best plans at the size.
        size: the size in bytes.

    Raises:
        OptionError: no file is as small as the size.

    """
    runner, objective = search.runner, search.objective
    # The options themselves are tried first: they raise the error that has the minimum.
    finalists = [
        Finalist(label, options, runner.pack(options))
        for label in OBJECTIVES
        for options in [_with_placeholder(search).with_goal(Size(size, label))]
    ]
    if size < runner.encoder.estimate_size({}):
        finalists += _finish_plans(search, find_plans(), size)
        finalists += _codebooks(search, size)
    fitting = [f for f in finalists if f.trial.size <= size]
    return sorted(fitting, key=lambda f: (objective.cost(f.trial.metrics), f.trial.size))


def _finish_plans(search: PlanSearch, plans: Sequence[Candidate], size: int) -> list[Finalist]:
    """Return the files of plans within a size."""
    runner = search.runner
    finalists = []
    for candidate in plans:
        plan = _plan_within(search, candidate.plan, size)
        if plan is not None:
            options = exact_options(runner, plan, placeholder(search.objective))
            finalists.append(Finalist(candidate.label, options, runner.pack(options), plan))
    return finalists


def _with_placeholder(search: PlanSearch) -> Options:
    evaluation = placeholder(search.objective)
    return search.runner.encoder.options.with_evaluation(evaluation.to_table())


def _plan_within(search: PlanSearch, plan: Plan, size: int) -> Plan | None:
    """Return a plan whose step sizes grow until the file is within the size."""
    evaluation = placeholder(search.objective)
    recorded = exact_options(search.runner, plan, evaluation).goal
    assert isinstance(recorded, Size)
    target = size - recorded.size + search.runner.encoder.estimate_size(plan)
    largest_first = sorted(search.groups, key=lambda group: -group.count)
    plan = search.repair(plan, largest_first, target) or plan
    for by in range(_MAX_MOVES):
        moved = move_plan(plan, by)
        if search.runner.encoder.estimate_size(moved) > size:
            continue
        options = exact_options(search.runner, moved, evaluation)
        assert isinstance(options.goal, Size)
        if options.goal.size <= size:
            return moved
    return None


def _codebooks(search: PlanSearch, size: int) -> list[Finalist]:
    """Return the codebooks of the most bits whose file is within the size.

    If there is no room for the record of the evaluation, the file has none.
    """
    runner = search.runner
    bits = min(int(8 * size / search.count + 1), 8)
    for width in range(bits, 0, -1):
        for base in (_with_placeholder(search), runner.encoder.options.with_evaluation(None)):
            options = base.with_goal(Bits(width))
            trial = runner.pack(options)
            if trial.size <= size:
                return [Finalist(f"codebooks, {width} bits", options, trial)]
    return []
