"""Search for the plan that evaluates best at a size."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from .plans import POSITIONS_PER_OCTAVE, Choice, move_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .candidates import Candidate
    from .goal import TuneGoal
    from .groups import Group
    from .objective import Objective
    from .plans import Plan
    from .trial import Trial
    from .trials import TrialRunner

_BITS_PER_BYTE: Final = 8
_DECIBELS_PER_BIT: Final = 20 * math.log10(2)
_MAX_FITS: Final = 6
# A change must improve the result by this much in dB, so that it is not chance.
_MIN_GAIN: Final = 0.03
# While plans are refined, a byte too many costs more than it is worth: changes of all step sizes
# at the end would undo what the changes of single tensors have gained.
_COST_ABOVE: Final = 6.0
_REPAIRS: Final = (1, 2, 4, 8, 16)
_MAX_REPAIRS: Final = 8
_MAX_EXACT_SHARE: Final = 0.1
_MOVES: Final = (4, -4, 8, -8, 16)


@dataclass(frozen=True, slots=True)
class Scored:
    """A plan with its result.

    Attributes:
        label: what the plan is, for a reader.
        plan: the plan.
        trial: its result.
        score: the metric at the size that was asked for; less is better.

    """

    label: str
    plan: Plan
    trial: Trial
    score: float


@dataclass(slots=True)
class PlanSearch:
    """Search for plans at a size.

    Attributes:
        runner: runs the trials.
        objective: the metric.
        groups: the groups of tensors that change together.
        comparable: whether the metric feels small changes, so that results of slightly different
            sizes can be compared: one bit per weight is worth 6 dB.
        is_over: whether the time is over.
        history: all results, in the order of the trials.

    """

    runner: TrialRunner
    objective: Objective
    groups: Sequence[Group]
    comparable: bool
    is_over: Callable[[], bool] = lambda: False
    history: list[Scored] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The number of weights."""
        return sum(group.count for group in self.groups)

    def passes(self, goal: TuneGoal, trial: Trial) -> bool:
        """Whether a result meets a goal."""
        return goal.passes(self.objective.value(trial.metrics), self.objective)

    def try_all(self, candidates: Iterable[Candidate], size: int) -> list[Scored]:
        """Return the results of candidates at a size, the best first."""
        seen: dict[str, Scored] = {}
        for candidate in candidates:
            if seen and self.is_over():
                break
            plan = self.fit(candidate.plan, size)
            key = repr(sorted(plan.items(), key=lambda item: item[0]))
            if key not in seen:
                seen[key] = self.score(candidate.label, plan, size)
        return sorted(seen.values(), key=lambda scored: scored.score)

    def score(self, label: str, plan: Plan, size: int, *, strict: bool = False) -> Scored:
        """Try a plan.

        Args:
            label: what the plan is, for a reader.
            plan: the plan.
            size: the size at which results are compared.
            strict: whether a larger file counts much worse.

        """
        trial = self.runner.run(plan)
        scored = Scored(label, plan, trial, self._score(trial, size, strict=strict))
        self.history.append(scored)
        return scored

    def _score(self, trial: Trial, size: int, *, strict: bool) -> float:
        if self.comparable:
            excess = _BITS_PER_BYTE * (trial.size - size) / self.count
            weight = _COST_ABOVE if strict and excess > 0 else 1.0
            return self.objective.decibels(trial.metrics) + weight * _DECIBELS_PER_BIT * excess
        return self.objective.cost(trial.metrics) if trial.size <= size else math.inf

    def fit(self, plan: Plan, size: int) -> Plan:
        """Return the plan with all step sizes changed so that the file has about a size.

        If results of different sizes cannot be compared, the file is not larger.
        """
        found: dict[int, int] = {}
        by = 0
        for _ in range(_MAX_FITS):
            found[by] = self.runner.encoder.predict_size(move_plan(plan, by))
            excess = _BITS_PER_BYTE * (found[by] - size) / self.count
            move = excess * POSITIONS_PER_OCTAVE
            step = round(move) if self.comparable else math.ceil(move)
            if by + step in found:
                break
            by += step
        fitting = {by: s for by, s in found.items() if self.comparable or s <= size} or found
        best = min(fitting, key=lambda by: abs(fitting[by] - size))
        return move_plan(plan, best)

    def refine(self, start: Scored, order: Sequence[Group], size: int, max_trials: int) -> Scored:
        """Improve a plan by changes of one group at a time.

        Args:
            start: the plan to begin with.
            order: the groups, those that matter most first.
            size: the size at which results are compared.
            max_trials: the number of changes to try.

        """
        score = self._score(start.trial, size, strict=True)
        best, left, improved = replace(start, score=score), max_trials, True
        while improved and left > 0:
            improved = False
            for group in order:
                for change in self._changes(best.plan, group):
                    if left <= 0 or self.is_over():
                        return best
                    left -= 1
                    found = self.score("refined", change, size, strict=True)
                    if found.score < best.score - _MIN_GAIN:
                        best, improved = found, True
                        break
        return best

    def repair(self, plan: Plan, order: Sequence[Group], size: int) -> Plan | None:
        """Return the best plan within a size that differs in one group, or None.

        Larger step sizes of all tensors would undo what changes of single tensors have gained.
        """
        if self.runner.encoder.estimate_size(plan) <= size:
            return plan
        found: list[Scored] = []
        for group in order:
            for by in _REPAIRS:
                members = {name: plan[name].move(by) for name in group.names if name in plan}
                changed = {**plan, **members}
                if members and self.runner.encoder.estimate_size(changed) <= size:
                    found.append(self.score("repaired", changed, size))
                    break
            if len(found) >= _MAX_REPAIRS:
                break
        return min(found, key=lambda scored: scored.score).plan if found else None

    def _changes(self, plan: Plan, group: Group) -> Iterator[Plan]:
        """Yield plans that differ in one group: other scales, other step sizes, or exact."""
        choices = {name: plan[name] for name in group.names if name in plan}
        if not choices:
            return
        axis = next(iter(choices.values())).axis
        for other in (None, *group.axes):
            if other != axis:
                yield {**plan, **{n: Choice(c.position, other) for n, c in choices.items()}}
        for by in _MOVES:
            yield {**plan, **{name: choice.move(by) for name, choice in choices.items()}}
        if group.count < _MAX_EXACT_SHARE * self.count:
            yield {name: choice for name, choice in plan.items() if name not in choices}
