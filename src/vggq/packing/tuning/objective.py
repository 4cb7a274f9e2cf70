"""The metric that a run optimizes, and its goal."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ...errors import OptionError
from .metrics import COSINE, ERROR

if TYPE_CHECKING:
    from .evaluation import Judge
    from .goal import TuneGoal
    from .metrics import Metrics

_LOSSES: Final = frozenset((
    "cer", "err", "error", "errors", "loss", "losses", "mae", "mape", "mse", "nll", "perplexity",
    "ppl", "rmse", "wer",
))  # fmt: skip
"""Words in the names of metrics that are better if they are lower."""
_WORD: Final = re.compile("[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_NEGATIONS: Final = frozenset(("minus", "neg", "negative"))


@dataclass(frozen=True, slots=True)
class Objective:
    """The metric that a run optimizes.

    Attributes:
        metric: its name.
        lower_is_better: whether smaller values are better.
        original: the value of the original.
        smooth: whether the metric compares arrays, so that it feels every change of a weight.

    """

    metric: str
    lower_is_better: bool
    original: float
    smooth: bool

    @property
    def is_doubtful(self) -> bool:
        """Whether higher counts as better although the name is that of an error or a loss."""
        if self.smooth or self.lower_is_better:
            return False
        words = {word.lower() for word in _WORD.findall(self.metric)}
        return bool(words & _LOSSES) and not words & _NEGATIONS

    def value(self, metrics: Metrics) -> float:
        """Return the value of the metric."""
        return metrics[self.metric]

    def cost(self, metrics: Metrics) -> float:
        """Return the metric as a number of which less is better."""
        return self.value(metrics) * (1 if self.lower_is_better else -1)

    def effect(self, metrics: Metrics) -> float:
        """Return how far the metric is from the original's, in proportion to squared errors."""
        if self.smooth:
            # Also if the goal is a cosine: that of the worst row depends on a few outputs, and a
            # plan that was chosen by it would be worse on other inputs.
            return metrics[ERROR] ** 2
        return abs(self.value(metrics) - self.original)

    def decibels(self, metrics: Metrics) -> float:
        """Return the effect in dB."""
        return 10 * math.log10(max(self.effect(metrics), 1e-30))


def choose_objective(
    judge: Judge, goal: TuneGoal, metric: str | None, *, lower_is_better: bool
) -> Objective:
    """Return the objective for the metrics that the function gives.

    Raises:
        OptionError: there is no such metric, several and none was named, or the goal contradicts
            the direction of the metric.

    """
    names = list(judge.original)
    if metric is None:
        metric = _default_metric(judge, goal, names)
    if metric not in judge.original:
        raise OptionError([("metric", f"no metric {metric!r}; found {', '.join(names)}")])
    if judge.gives_arrays:
        lower_is_better = metric == ERROR
    elif goal.kind == "at-most":
        lower_is_better = True
    if goal.kind == "at-least" and lower_is_better:
        problem = f"the metric {metric!r} is better if it is lower; use --at-most"
        raise OptionError([("at-least", problem)])
    if goal.kind == "at-most" and not lower_is_better:
        problem = f"the metric {metric!r} is better if it is higher; use --at-least"
        raise OptionError([("at-most", problem)])
    return Objective(metric, lower_is_better, judge.original[metric], judge.gives_arrays)


def _default_metric(judge: Judge, goal: TuneGoal, names: list[str]) -> str:
    if judge.gives_arrays:
        return COSINE if goal.kind == "at-least" else ERROR
    if len(names) > 1:
        problem = f"the function returns several; name one of {', '.join(names)}"
        raise OptionError([("metric", problem)])
    return names[0]
