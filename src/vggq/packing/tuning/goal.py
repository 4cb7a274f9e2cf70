"""The goals of tuning: a size, or a bound of the metric."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from ...errors import OptionError
from ..sizes import megabytes, parse_size

if TYPE_CHECKING:
    from .objective import Objective

KINDS = ("size", "at-least", "at-most", "within")

# A quantized model is hardly better than the original by a larger share.
_MAX_GAIN: Final = 0.1


@dataclass(frozen=True, slots=True)
class TuneGoal:
    """A goal.

    Attributes:
        kind: "size" for the best metric within a size; the others for the smallest size with a
            metric of at least or at most a value, or within a share of the original's.
        value: bytes, the bound of the metric, or the share.

    """

    kind: Literal["size", "at-least", "at-most", "within"]
    value: float

    @property
    def is_size(self) -> bool:
        """Whether the goal is the best metric within a size."""
        return self.kind == "size"

    def bound(self, objective: Objective) -> float:
        """Return the value that the metric must reach."""
        if self.kind != "within":
            return self.value
        base = abs(objective.original) if objective.original else 1.0
        return objective.original + self.value * base * (1 if objective.lower_is_better else -1)

    def passes(self, value: float, objective: Objective) -> bool:
        """Whether a value of the metric meets the goal; a size says nothing about the metric."""
        if self.is_size:
            return True
        bound = self.bound(objective)
        return value <= bound if objective.lower_is_better else value >= bound

    def is_met(self, size: int, value: float, objective: Objective) -> bool:
        """Whether a file of a size, with a value of the metric, meets the goal."""
        return size <= self.value if self.is_size else self.passes(value, objective)

    def doubt(self, objective: Objective) -> str | None:
        """Return a remark if the goal follows a direction of the metric that is probably wrong."""
        if self.kind not in ("size", "within") or not objective.is_doubtful:
            return None
        return (
            f"the metric {objective.metric!r} counts as better if it is higher; if it is an error "
            "or a loss, pass --lower-is-better"
        )

    def doubt_result(self, objective: Objective, value: float) -> str | None:
        """Return a remark if the result counts as so much better that it is probably worse."""
        gain = (value - objective.original) * (-1 if objective.lower_is_better else 1)
        base = abs(objective.original) if objective.original else 1.0
        if objective.smooth or self.doubt(objective) or gain <= _MAX_GAIN * base:
            return None
        change = "omit" if objective.lower_is_better else "pass"
        advice = {
            "at-least": "give the bound with --at-most",
            "at-most": "give the bound with --at-least",
        }.get(self.kind, f"{change} --lower-is-better")
        return (
            f"{objective.metric} {value:.6g} counts as better than {objective.original:.6g} of the "
            f"original weights; if it is worse, {advice}"
        )

    def describe(self, objective: Objective) -> str:
        """Return the goal in words."""
        if self.is_size:
            return f"the best {objective.metric} within {megabytes(int(self.value))}"
        bound = "at most" if objective.lower_is_better else "at least"
        return f"{objective.metric} {bound} {self.bound(objective):.6g}"


def parse_goal(
    size: str | int | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    within: str | float | None = None,
) -> TuneGoal:
    """Return the one goal that is given.

    Raises:
        OptionError: none or several are given, or the value is invalid.

    """
    values = (size, at_least, at_most, within)
    given = [kind for kind, value in zip(KINDS, values, strict=True) if value is not None]
    if len(given) != 1:
        found = " and ".join(f"--{kind}" for kind in given) or "none"
        choices = ", ".join(f"--{kind}" for kind in KINDS)
        raise OptionError([("goal", f"expected one of {choices}, found {found}")])
    if size is not None:
        try:
            return TuneGoal("size", parse_size(size))
        except ValueError as error:
            raise OptionError([("size", str(error))]) from error
    if within is not None:
        return TuneGoal("within", _parse_share(within))
    if at_least is not None:
        return TuneGoal("at-least", _finite("at-least", at_least))
    assert at_most is not None
    return TuneGoal("at-most", _finite("at-most", at_most))


def _finite(kind: str, value: float) -> float:
    if not math.isfinite(value):
        raise OptionError([(kind, f"expected a number, found {value}")])
    return float(value)


def _parse_share(value: str | float) -> float:
    """Return the share in a text such as ``"0.5%"`` or ``"0.005"``."""
    text = str(value).strip()
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = math.nan
    if share >= 1:
        problem = f"expected a share below 100 %, such as 5%, found {value!r}"
        raise OptionError([("within", problem)])
    if not 0 <= share < 1:
        raise OptionError([("within", f"expected a share such as 0.5%, found {value!r}")])
    return share
