"""The last evaluation of the files that are chosen from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from vggq.errors import OptionError
from vggq.packing import Options, Size
from vggq.packing.tuning import TuneGoal, parse_goal
from vggq.packing.tuning.finalists import Finalist, confirm_best
from vggq.packing.tuning.objective import Objective
from vggq.packing.tuning.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Mapping

ACCURACY = Objective("accuracy", lower_is_better=False, original=1.0, smooth=False)
RECORD = {"metric": "x", "original": 1.0, "packed": 0.5, "sha256": "0" * 64}


@dataclass
class Packings:
    """Results of packing by the size of the goal, once the evaluation is recorded."""

    results: Mapping[int, Trial]

    def pack(self, options: Options) -> Trial:
        assert isinstance(options.goal, Size)
        return self.results[options.goal.size]


def _trial(size: int, accuracy: float, digit: str) -> Trial:
    return Trial(size, {"accuracy": accuracy}, sha256=digit * 64)


def _finalist(limit: int, trial: Trial) -> Finalist:
    return Finalist(str(limit), Options(size=limit, evaluation=RECORD), trial)


def _confirm(first: Trial, second: Trial, goal: TuneGoal) -> Finalist:
    """Confirm two files of accuracy 0.95; the results are theirs with the record."""
    finalists = [_finalist(1000, _trial(1000, 0.95, "a")), _finalist(2000, _trial(2000, 0.95, "b"))]
    runner: Any = Packings({1000: first, 2000: second})
    return confirm_best(runner, finalists, ACCURACY, goal)


def test_file_that_misses_the_bound_with_its_record_is_not_chosen() -> None:
    first, second = _trial(1000, 0.5, "c"), _trial(2000, 0.95, "b")
    best = _confirm(first, second, parse_goal(at_least=0.9))
    assert best.trial == second
    assert best.options.evaluation == {
        "metric": "accuracy",
        "original": 1.0,
        "packed": 0.95,
        "sha256": "b" * 64,
    }


def test_smaller_file_that_meets_the_bound_is_chosen() -> None:
    first, second = _trial(1000, 0.91, "c"), _trial(2000, 0.99, "b")
    assert _confirm(first, second, parse_goal(at_least=0.9)).trial == first


def test_better_file_within_the_size_is_chosen() -> None:
    first, second = _trial(1000, 0.91, "c"), _trial(2000, 0.99, "d")
    assert _confirm(first, second, parse_goal(size=2000)).trial == second
    assert _confirm(first, second, parse_goal(size=1999)).trial == first


def test_bound_that_no_file_meets_is_an_error() -> None:
    first, second = _trial(1000, 0.5, "c"), _trial(2000, 0.6, "d")
    with pytest.raises(OptionError, match=r"accuracy at least 0\.9 was not met once the file"):
        _confirm(first, second, parse_goal(at_least=0.9))


@dataclass
class Unstable:
    """Results of packing whose tensors are others each time, unless nothing is recorded."""

    attempts: int = 0

    def pack(self, options: Options) -> Trial:
        self.attempts += 1
        digit = "f" if options.evaluation is None else str(self.attempts)
        return _trial(1000, 0.95, digit)


def test_file_whose_tensors_never_agree_with_the_record_has_none() -> None:
    runner: Any = Unstable()
    finalist = _finalist(1000, _trial(1000, 0.95, "0"))
    best = confirm_best(runner, [finalist], ACCURACY, parse_goal(size=1000))
    assert best.options.evaluation is None
    assert best.trial.sha256 == "f" * 64
