"""The settings and the results of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from ..options import Options
    from .finalists import Finalist
    from .goal import TuneGoal
    from .objective import Objective
    from .sensitivity import Sensitivity

DEFAULT_TRIALS: Final = 120


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """The settings of a run.

    Attributes:
        evaluation: the function that judges the weights, as MODULE:FUNCTION.
        metric: the metric to optimize; None if there is only one, or for arrays.
        lower_is_better: whether smaller values of a metric that is a number are better.
        trials: the number of changes to single tensors to try.
        time_limit: seconds after which the search ends with what it has; None for no limit.
        seed: the seed of the random numbers of the evaluation.
        allow_unused: whether tensors without effect may be damaged.
        cache: the folder for results; None for that of the user.

    """

    evaluation: str
    metric: str | None = None
    lower_is_better: bool = False
    trials: int = DEFAULT_TRIALS
    time_limit: float | None = None
    seed: int = 0
    allow_unused: bool = False
    cache: Path | None = None


@dataclass(frozen=True, slots=True)
class Sensitivities:
    """The measured sensitivity of a model.

    Attributes:
        objective: the metric.
        original: all metrics of the original.
        groups: the sensitivity of each group, the largest effect first.

    """

    objective: Objective
    original: dict[str, float]
    groups: tuple[Sensitivity, ...]

    @property
    def unused(self) -> tuple[Sensitivity, ...]:
        """The groups without any effect."""
        return tuple(s for s in self.groups if s.is_unused)

    @property
    def unfelt(self) -> tuple[Sensitivity, ...]:
        """The groups that have an effect, but not at the finest noise level."""
        return tuple(s for s in self.groups if not s.is_unused and not s.measurements[0].effect)


@dataclass(frozen=True, slots=True)
class Tuned:
    """The result of a run.

    Attributes:
        goal: the goal.
        sensitivities: the sensitivity of the model.
        best: the chosen options with their result.
        finalists: all that were packed and evaluated.
        history: label, size and metric of each trial, in order.
        evaluations: the number of evaluations that were not in the cache.
        seconds: wall-clock time.

    """

    goal: TuneGoal
    sensitivities: Sensitivities
    best: Finalist
    finalists: tuple[Finalist, ...]
    history: tuple[tuple[str, int, float], ...]
    evaluations: int
    seconds: float

    @property
    def options(self) -> Options:
        """The options of packing to use."""
        return self.best.options

    @property
    def objective(self) -> Objective:
        """The metric."""
        return self.sensitivities.objective
