"""Measure the effect of the noise of one tensor, or of one group of tensors, at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..._manifest import compute_sqnr
from ...errors import OptionError
from .plans import POSITIONS_PER_OCTAVE, Choice

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .groups import Group
    from .objective import Objective
    from .trial import Trial
    from .trials import TrialRunner

# log2 of a Gaussian's standard deviation in steps, at a given rate in bits: the rate minus this.
_RATE_OFFSET: Final = 1.25
LEVEL_DISTANCE: Final = 1.5
"""The second noise level is this many bits coarser than the first."""
# A coarse metric may feel nothing at these levels. At the second one only zeros are left.
_COARSE_LEVELS: Final = (0.7, -6.0)
_MIN_BITS: Final = 1.0
_MAX_BITS: Final = 12.0
# A choice of scales must save this many bits per weight, so that it is not chance.
_MIN_GAIN: Final = 0.04


@dataclass(frozen=True, slots=True)
class Measurement:
    """The effect of a group at one noise level.

    Attributes:
        axis: the axis whose slices have scales; None for no scales.
        bits: stored bits per weight.
        noise: the squared error of the weights.
        effect: the effect on the metric.

    """

    axis: int | None
    bits: float
    noise: float
    effect: float


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The measured sensitivity of a group.

    Attributes:
        group: the group.
        factor: the effect divided by the squared error of the weights, with the best axis.
        axis: the axis whose scales give the least effect for the bytes; None for no scales.
        size: stored bytes at the first noise level.
        sqnr: the SQNR in dB at the first noise level.
        effect: the effect at the first noise level.
        measurements: all measurements.

    """

    group: Group
    factor: float
    axis: int | None
    size: int
    sqnr: float
    effect: float
    measurements: tuple[Measurement, ...]

    @property
    def largest_effect(self) -> float:
        """The largest effect at any level."""
        return max(measurement.effect for measurement in self.measurements)

    @property
    def is_unused(self) -> bool:
        """Whether the group has no effect at all, not even if only zeros are left of it."""
        return not self.largest_effect


def position_for_bits(deviation: float, bits: float) -> int:
    """Return the position of about the step size that gives weights this many bits."""
    return round(POSITIONS_PER_OCTAVE * (math.log2(deviation) + _RATE_OFFSET - bits))


def count_trials(groups: Sequence[Group], levels: int = 2) -> int:
    """Return the number of trials of `measure_all`, apart from those of unused tensors."""
    return sum(levels * (1 + len(group.axes)) for group in groups)


def measure_all(
    runner: TrialRunner, groups: Sequence[Group], objective: Objective, bits: float
) -> Iterator[Sensitivity]:
    """Yield the sensitivity of each group.

    Args:
        runner: runs the trials.
        groups: the groups.
        objective: the metric.
        bits: the rate in bits per weight that the file will have, about.

    """
    first = min(max(bits, _MIN_BITS + LEVEL_DISTANCE), _MAX_BITS)
    for group in groups:
        yield _measure(runner, group, objective, (first, first - LEVEL_DISTANCE))


def _measure(
    runner: TrialRunner, group: Group, objective: Objective, levels: tuple[float, float]
) -> Sensitivity:
    measurements = []
    first: Trial | None = None
    for axis in (None, *group.axes):
        for bits in levels:
            trial = _run(runner, [group], axis, bits)
            first = first or trial
            measurements.append(_evaluate(group, axis, trial, objective))
    for bits in _COARSE_LEVELS:
        if not any(m.effect for m in measurements):
            measurements.append(_measure_coarsely(runner, group, objective, bits))
    assert first is not None
    axis = _choose_axis(measurements, len(levels))
    return Sensitivity(
        group=group,
        factor=_fit_factor([m for m in measurements if m.axis == axis]),
        axis=axis,
        size=stored_bytes(group, first),
        sqnr=compute_sqnr(group.energy, measurements[0].noise),
        effect=measurements[0].effect,
        measurements=tuple(measurements),
    )


def _measure_coarsely(
    runner: TrialRunner, group: Group, objective: Objective, bits: float
) -> Measurement:
    """Measure a group of which little is left; a function that fails then needs the group."""
    try:
        return _evaluate(group, None, _run(runner, [group], None, bits), objective)
    except OptionError:
        return Measurement(None, 0.0, group.energy, abs(objective.original) or 1.0)


def run_coarsely(runner: TrialRunner, groups: Sequence[Group]) -> Trial:
    """Return the result if only zeros are left of the groups.

    Raises:
        OptionError: the function of the user fails.
        SourceError: a tensor cannot be read.

    """
    return _run(runner, groups, None, _COARSE_LEVELS[-1])


def _run(runner: TrialRunner, groups: Sequence[Group], axis: int | None, bits: float) -> Trial:
    plan = {
        name: Choice(position_for_bits(deviation, bits), axis)
        for group in groups
        for name, deviation in group.deviations.items()
    }
    return runner.run(plan)


def _evaluate(group: Group, axis: int | None, trial: Trial, objective: Objective) -> Measurement:
    bits = 8 * stored_bytes(group, trial) / max(group.count, 1)
    return Measurement(axis, bits, sum(trial.noises.values()), objective.effect(trial.metrics))


def stored_bytes(group: Group, trial: Trial) -> int:
    """Return the bytes that a group takes in the file of a trial."""
    return sum(trial.sizes[name] for name in group.names if name not in group.copies)


def _fit_factor(measurements: Sequence[Measurement]) -> float:
    """Return the factor of effect = factor * noise that fits best on a logarithmic scale."""
    ratios = [math.log(m.effect / m.noise) for m in measurements if m.effect and m.noise]
    return math.exp(sum(ratios) / len(ratios)) if ratios else 0.0


def _choose_axis(measurements: Sequence[Measurement], levels: int) -> int | None:
    """Return the axis with the least effect for the bits, on the mean of the levels."""
    costs: dict[int | None, list[float]] = {}
    for m in measurements:
        if m.effect:
            costs.setdefault(m.axis, []).append(m.bits + math.log2(m.effect) / 2)
    means = {axis: sum(values) / levels for axis, values in costs.items() if len(values) >= levels}
    if None not in means:
        return None
    best = min(means, key=lambda axis: means[axis])
    return best if means[best] < means[None] - _MIN_GAIN else None
