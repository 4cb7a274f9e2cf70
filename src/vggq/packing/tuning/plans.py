"""Plans of a packed file: how each tensor is stored."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..goals import Override, Size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..options import Options

POSITIONS_PER_OCTAVE: Final = 32
"""Positions of step sizes between a step size and its double."""
_FACTOR_DIGITS: Final = 10
# Far beyond the range of float32, and in that of floats even when a ratio of steps is squared.
_MAX_OCTAVES: Final = 400.0


@dataclass(frozen=True, slots=True)
class Choice:
    """The storage of a tensor on a grid.

    Attributes:
        position: log2 of the step size in units of the weights, times `POSITIONS_PER_OCTAVE`.
        axis: the axis whose slices get scales; None for no scales.

    """

    position: int
    axis: int | None = None

    @property
    def step(self) -> float:
        """The step size in units of the weights."""
        octaves = self.position / POSITIONS_PER_OCTAVE
        return float(2.0 ** min(max(octaves, -_MAX_OCTAVES), _MAX_OCTAVES))

    def move(self, by: int) -> Choice:
        """Return the choice with a step size that is larger by some positions."""
        return Choice(self.position + by, self.axis)


Plan = Mapping[str, Choice]
"""The choices of the quantized tensors by name; every other tensor is stored exactly."""


def move_plan(plan: Plan, by: int) -> dict[str, Choice]:
    """Return a plan with all step sizes larger by some positions."""
    return {name: choice.move(by) for name, choice in plan.items()}


def plan_to_record(plan: Plan) -> dict[str, list[int | None]]:
    """Return a plan in values that JSON can hold."""
    return {name: [plan[name].position, plan[name].axis] for name in sorted(plan)}


def options_for(
    plan: Plan, base: Options, size: int, quantized: Iterable[str], scale: float = 1.0
) -> Options:
    """Return options of packing that store the tensors as a plan does, in a file of a size.

    Args:
        plan: the plan.
        base: the options of reading, and all others that are not tuned.
        size: the size in bytes.
        quantized: the names of the tensors that are quantized unless `keep` names them.
        scale: the step size of a tensor whose factor is 1. If it is the first that packing tries,
            packing gives exactly the file of the plan.

    """
    factors = {
        name: float(f"{(scale / choice.step) ** 2:.{_FACTOR_DIGITS}g}")
        for name, choice in plan.items()
    }
    overrides = tuple(
        Override(glob.escape(name), scale=choice.axis)
        for name, choice in plan.items()
        if choice.axis is not None
    )
    exact = tuple(glob.escape(name) for name in quantized if name not in plan)
    goal = Size(size, "overall", factors or None)
    return base.with_storage(goal, (*base.overrides, *overrides), (*base.keep, *exact))
