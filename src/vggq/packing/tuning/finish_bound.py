"""Pack the smallest files that meet a bound of the metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from ...errors import OptionError
from .finalists import Finalist
from .packing import exact_options, placeholder
from .plans import move_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .candidates import Candidate
    from .goal import TuneGoal
    from .objective import Objective
    from .plans import Plan
    from .search import PlanSearch, Scored

AnyPlan = TypeVar("AnyPlan", "Candidate", "Candidate | Scored")

_MAX_SHRINKS: Final = 8
_FIRST_BITS: Final = 6
_PROBES: Final = 3
"""The number of plans that show at what size the goal is met, if results can be compared."""
_MAX_PLANS: Final = 3


def finish_bound(
    search: PlanSearch,
    goal: TuneGoal,
    plans_at: Callable[[int], Sequence[Candidate | Scored]],
    candidates: Sequence[Candidate],
) -> list[Finalist]:
    """Return the files that meet a bound of the metric, the smallest first.

    Raises:
        OptionError: no file that was tried meets the bound.

    """
    plans = _choose_plans(search, goal, plans_at, candidates)
    finalists = [f for plan in _in_time(search, plans) for f in _shrink(search, goal, plan)]
    passing = [f for f in finalists if search.passes(goal, f.trial)]
    if not passing:
        raise OptionError([(goal.kind, _describe_best(search.objective, goal, finalists))])
    return sorted(passing, key=lambda f: f.trial.size)


def _choose_plans(
    search: PlanSearch,
    goal: TuneGoal,
    plans_at: Callable[[int], Sequence[Candidate | Scored]],
    candidates: Sequence[Candidate],
) -> Sequence[Candidate | Scored]:
    """Return the plans with which the smallest files meet the goal, the best first.

    Plans are not refined: changes that just meet the bound with these inputs may not meet it with
    others.
    """
    tried = candidates[:_PROBES] if search.comparable else candidates
    sized = [
        (_size_of(search, goal, candidate), candidate) for candidate in _in_time(search, tried)
    ]
    sized.sort(key=lambda pair: pair[0])
    if search.comparable:
        return plans_at(sized[0][0])
    return [candidate for _, candidate in sized[:_MAX_PLANS]]


def _in_time(search: PlanSearch, plans: Sequence[AnyPlan]) -> Iterator[AnyPlan]:
    """Yield the first plan, and others until the time is over."""
    for number, plan in enumerate(plans):
        if number and search.is_over():
            return
        yield plan


def _size_of(search: PlanSearch, goal: TuneGoal, candidate: Candidate) -> int:
    plan = smallest_passing(search, goal, candidate)
    return search.runner.encoder.estimate_size(plan)


def smallest_passing(search: PlanSearch, goal: TuneGoal, candidate: Candidate | Scored) -> Plan:
    """Return the plan with the largest step sizes for which it and all smaller ones pass.

    All step sizes have a common factor, which is doubled or halved at first, and then bisected.
    """
    start = search.fit(candidate.plan, _FIRST_BITS * search.count // 8)

    def passes(by: int) -> bool:
        scored = search.score(candidate.label, move_plan(start, by), 0)
        return search.passes(goal, scored.trial)

    low, high = _bracket(passes)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if passes(middle) else (low, middle)
    return move_plan(start, low)


def _bracket(passes: Callable[[int], bool]) -> tuple[int, int]:
    """Return a shift that passes, and a larger one that fails."""
    step = 32
    if passes(0):
        low = 0
        for _ in range(8):
            if not passes(low + step):
                return low, low + step
            low += step
        return low, low + 1
    high = 0
    for _ in range(20):
        if passes(high - step):
            return high - step, high
        high -= step
    return high, high + 1


def _shrink(
    search: PlanSearch,
    goal: TuneGoal,
    candidate: Candidate | Scored,
) -> list[Finalist]:
    """Return the file of a plan with the largest step sizes that meet the goal."""
    plan = smallest_passing(search, goal, candidate)
    found = []
    for _ in range(_MAX_SHRINKS):
        options = exact_options(search.runner, plan, placeholder(search.objective))
        found.append(Finalist(candidate.label, options, search.runner.pack(options), plan))
        if search.passes(goal, found[-1].trial):
            break
        plan = move_plan(plan, -1)
    return found


def _describe_best(objective: Objective, goal: TuneGoal, finalists: Sequence[Finalist]) -> str:
    best = min(finalists, key=lambda f: objective.cost(f.trial.metrics))
    value = objective.value(best.trial.metrics)
    return (
        f"{goal.describe(objective)} was not met; the best that was reached is {value:.6g} in "
        f"{best.trial.size:,} bytes"
    )
