"""A run on an open source: measure the sensitivity, and search for the best options."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .candidates import Candidate, list_candidates
from .finish_bound import finish_bound
from .finish_size import finish_size
from .function_checks import check_influence
from .records import Sensitivities
from .search import PlanSearch
from .sensitivity import measure_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .finalists import Finalist
    from .goal import TuneGoal
    from .groups import Group
    from .objective import Objective
    from .records import TuneSettings
    from .trials import TrialRunner

FINALISTS: Final = 2
_FIRST_BITS: Final = 6.0


@dataclass(slots=True)
class TuningRun:
    """A run on an open source.

    Attributes:
        runner: runs the trials.
        groups: the groups of tensors.
        settings: the settings.
        goal: the goal.
        objective: the metric.
        deadline: the time when the search ends.

    """

    runner: TrialRunner
    groups: list[Group]
    settings: TuneSettings
    goal: TuneGoal
    objective: Objective
    deadline: float | None

    def is_over(self) -> bool:
        """Whether the time is over."""
        return self.deadline is not None and time.monotonic() > self.deadline

    @property
    def count(self) -> int:
        """The number of quantized weights."""
        return sum(group.count for group in self.groups)

    def measure(self) -> Sensitivities:
        """Measure the sensitivity of each group.

        Raises:
            OptionError: the function fails, or its result is the same for any weights.

        """
        bits = 8 * self.goal.value / self.count if self.goal.is_size else _FIRST_BITS
        found = list(measure_all(self.runner, self.groups, self.objective, bits))
        if all(s.is_unused for s in found):
            check_influence(self.runner, self.groups, self.objective)
        found.sort(key=lambda s: (s.effect, s.largest_effect), reverse=True)
        return Sensitivities(self.objective, dict(self.runner.judge.original), tuple(found))

    def search(self, sensitivities: Sensitivities) -> tuple[list[Finalist], PlanSearch]:
        """Return the options that were packed, the best first, and all trials."""
        comparable = self.objective.smooth or not sensitivities.unfelt
        search = PlanSearch(self.runner, self.objective, self.groups, comparable, self.is_over)
        candidates = list(
            list_candidates(sensitivities.groups, allow_unused=self.settings.allow_unused)
        )
        order = [s.group for s in sensitivities.groups if not s.is_unused]
        if self.goal.is_size:
            size = int(self.goal.value)
            finalists = finish_size(
                search, lambda: self._plans_at(search, candidates, order, size), size
            )
            return finalists, search
        finalists = finish_bound(
            search,
            self.goal,
            lambda size: search.try_all(candidates, size)[:FINALISTS],
            candidates,
        )
        return finalists, search

    def _plans_at(
        self,
        search: PlanSearch,
        candidates: Sequence[Candidate],
        order: Sequence[Group],
        size: int,
    ) -> list[Candidate]:
        """Return the best plans at a size: the refined one, and the best of the candidates."""
        found = search.try_all(candidates, size)
        best = found[0]
        if search.comparable and order:
            best = search.refine(best, order, size, self.settings.trials)
        return [Candidate(scored.label, scored.plan) for scored in (best, found[0])]
