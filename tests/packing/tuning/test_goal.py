"""The goals of `vggq tune`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vggq.errors import OptionError
from vggq.packing.tuning.goal import TuneGoal, parse_goal
from vggq.packing.tuning.objective import Objective


@pytest.mark.parametrize(
    ("given_goal", "expected"),
    [
        ({"size": "15 MB"}, TuneGoal("size", 15_000_000)),
        ({"at_least": 0.5}, TuneGoal("at-least", 0.5)),
        ({"at_most": 2}, TuneGoal("at-most", 2.0)),
        ({"within": "0.5%"}, TuneGoal("within", 0.005)),
        ({"within": "0.01"}, TuneGoal("within", 0.01)),
    ],
)
def test_goal_is_parsed(given_goal: Any, expected: TuneGoal) -> None:
    assert parse_goal(**given_goal) == expected


@pytest.mark.parametrize(
    ("given_goal", "problem"),
    [
        ({}, "expected one of --size, --at-least, --at-most, --within, found none"),
        ({"size": 1, "within": "1%"}, "found --size and --within"),
        ({"size": "big"}, "size"),
        ({"at_least": float("nan")}, "at-least: expected a number"),
        ({"within": "half"}, "within: expected a share such as 0.5%, found 'half'"),
        ({"within": "100%"}, "within"),
        ({"within": "-1%"}, "within"),
    ],
)
def test_other_goals_are_rejected(given_goal: Any, problem: str) -> None:
    with pytest.raises(OptionError, match=problem):
        parse_goal(**given_goal)


@given(st.floats(-1e6, 1e6), st.floats(0, 0.99), st.booleans())
def test_original_is_within_every_share(original: float, share: float, lower: bool) -> None:  # noqa: FBT001
    objective = Objective("metric", lower, original, smooth=False)
    assert TuneGoal("within", share).passes(original, objective)


def test_within_follows_the_direction_of_the_metric() -> None:
    goal = TuneGoal("within", 0.01)
    higher, lower = (Objective("m", is_low, 100.0, smooth=False) for is_low in (False, True))
    assert [goal.passes(value, higher) for value in (98.9, 99.1, 150)] == [False, True, True]
    assert [goal.passes(value, lower) for value in (50, 100.9, 101.1)] == [True, True, False]


def _doubt(name: str, goal: TuneGoal, *, lower: bool = False, smooth: bool = False) -> str | None:
    return goal.doubt(Objective(name, lower, 1.0, smooth))


@pytest.mark.parametrize("goal", [TuneGoal("size", 9), TuneGoal("within", 0.1)])
@pytest.mark.parametrize(
    "name", ["loss", "val_loss", "valLoss", "MSELoss", "error", "mse", "MAE", "rmse", "Perplexity",
             "wer", "cer@beam-4", "top1 error"],
)  # fmt: skip
def test_error_of_which_more_counts_as_better_is_doubtful(name: str, goal: TuneGoal) -> None:
    doubt = _doubt(name, goal)
    assert doubt is not None
    assert doubt.startswith(f"the metric {name!r} counts as better if it is higher")
    assert _doubt(name, goal, lower=True) is None
    assert _doubt(name, goal, smooth=True) is None
    assert _doubt(name, TuneGoal("at-least", 0.5)) is None


@pytest.mark.parametrize(
    "name",
    ["accuracy", "terror", "lossless", "answer", "neg_mean_squared_error", "negative_loss", "f1"],
)
def test_other_metrics_are_not_doubtful(name: str) -> None:
    assert _doubt(name, TuneGoal("within", 0.1)) is None


@pytest.mark.parametrize(
    ("kind", "lower", "value", "advice"),
    [
        ("within", False, 2.3, "pass --lower-is-better"),
        ("size", False, 2.3, "pass --lower-is-better"),
        ("within", True, 0.5, "omit --lower-is-better"),
        ("at-most", True, 0.1, "give the bound with --at-least"),
        ("at-least", False, 7.0, "give the bound with --at-most"),
        ("within", False, 1.05, None),
        ("within", False, 0.1, None),
        ("at-most", True, 1.9, None),
    ],
)
def test_result_that_counts_as_much_better_than_the_original_is_doubtful(
    kind: Any,
    lower: bool,  # noqa: FBT001
    value: float,
    advice: str | None,
) -> None:
    goal = TuneGoal(kind, 0.5)
    doubt = goal.doubt_result(Objective("score", lower, 1.0, smooth=False), value)
    if advice is None:
        assert doubt is None
    else:
        assert doubt is not None
        assert doubt.startswith(f"score {value:.6g} counts as better than 1 of the original")
        assert doubt.endswith(advice)
    assert goal.doubt_result(Objective("error", lower, 1.0, smooth=True), value) is None
