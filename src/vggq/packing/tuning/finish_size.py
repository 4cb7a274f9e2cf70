"""Pack the best plans within a size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..goals import OBJECTIVES, Bits, Size
from .finalists import Finalist
from .packing import PLACEHOLDER, exact_options
from .plans import move_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..options import Options
    from .candidates import Candidate
    from .groups import Group
    from .plans import Plan
    from .search import PlanSearch
    from .trials import TrialRunner

_MAX_MOVES: Final = 64


def finish_size(
    search: PlanSearch,
    plans: Sequence[Candidate],
    size: int,
) -> list[Finalist]:
    """Return the files within a size, the best first: of the plans, and of common options.

    Raises:
        OptionError: no file is as small as the size.

    """
    runner, groups = search.runner, search.groups
    # The options themselves are tried first: they raise the error that has the minimum.
    finalists = [
        Finalist(objective, options, runner.pack(options))
        for objective in OBJECTIVES
        for options in [_with_placeholder(runner).with_goal(Size(size, objective))]
    ]
    for candidate in plans:
        plan = _plan_within(search, candidate.plan, size)
        if plan is not None:
            options = exact_options(runner, plan)
            finalists.append(Finalist(candidate.label, options, runner.pack(options), plan))
    finalists += _codebooks(runner, groups, size)
    objective = search.objective
    fitting = [f for f in finalists if f.trial.size <= size]
    return sorted(fitting, key=lambda f: (objective.cost(f.trial.metrics), f.trial.size))


def _with_placeholder(runner: TrialRunner) -> Options:
    return runner.encoder.options.with_evaluation(PLACEHOLDER.to_table())


def _plan_within(search: PlanSearch, plan: Plan, size: int) -> Plan | None:
    """Return a plan whose step sizes grow until the file is within the size."""
    recorded = exact_options(search.runner, plan).goal
    assert isinstance(recorded, Size)
    target = size - recorded.size + search.runner.encoder.estimate_size(plan)
    largest_first = sorted(search.groups, key=lambda group: -group.count)
    plan = search.repair(plan, largest_first, target) or plan
    for by in range(_MAX_MOVES):
        moved = move_plan(plan, by)
        if search.runner.encoder.estimate_size(moved) > size:
            continue
        options = exact_options(search.runner, moved)
        assert isinstance(options.goal, Size)
        if options.goal.size <= size:
            return moved
    return None


def _codebooks(runner: TrialRunner, groups: Sequence[Group], size: int) -> list[Finalist]:
    """Return the codebooks of the most bits whose file is within the size.

    If there is no room for the record of the evaluation, the file has none.
    """
    count = sum(group.count for group in groups)
    bits = min(int(8 * size / count + 1), 8)
    for width in range(bits, 0, -1):
        for base in (_with_placeholder(runner), runner.encoder.options.with_evaluation(None)):
            options = base.with_goal(Bits(width))
            trial = runner.pack(options)
            if trial.size <= size:
                return [Finalist(f"codebooks, {width} bits", options, trial)]
    return []
