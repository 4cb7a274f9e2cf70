"""Plans to try first: ways to share the bytes among tensors, with and without scales."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .plans import POSITIONS_PER_OCTAVE, Choice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .plans import Plan
    from .sensitivity import Sensitivity

    Share = Callable[[Sensitivity, str], float]

# A tensor without effect is stored as if its error counted this share of the smallest one.
_FREE_SHARE: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plan, up to a common factor of all step sizes.

    Attributes:
        label: how it shares the bytes, for a reader.
        plan: the plan.

    """

    label: str
    plan: Plan


def list_candidates(
    sensitivities: Sequence[Sensitivity], *, allow_unused: bool
) -> Iterator[Candidate]:
    """Yield the plans to try, the most promising ones first.

    Args:
        sensitivities: those of all groups.
        allow_unused: whether tensors without effect may be damaged.

    """
    factors = find_factors(sensitivities, allow_unused=allow_unused)

    def measured(s: Sensitivity, _: str) -> float:
        return -math.log2(factors[s.group.names[0]]) / 2

    def relative(s: Sensitivity, name: str) -> float:
        return math.log2(s.group.deviations[name]) + math.log2(_count(s)) / 2

    def damped(s: Sensitivity, name: str) -> float:
        return (measured(s, name) + relative(s, name)) / 2

    shares: dict[str, Share] = {
        "measured factors": measured,
        "relative": relative,
        "overall": lambda *_: 0.0,
        "measured and relative": damped,
    }
    axes: dict[str, Callable[[Sensitivity], int | None]] = {
        "measured scales": lambda s: s.axis,
        "no scales": lambda _: None,
        "scales along the first axis": lambda s: s.group.axes[0] if s.group.axes else None,
        "scales along the second axis": lambda s: s.group.axes[-1] if s.group.axes else None,
    }
    for share_label, share in shares.items():
        for axis_label, axis in axes.items():
            yield Candidate(f"{share_label}, {axis_label}", _make_plan(sensitivities, share, axis))


def find_factors(sensitivities: Sequence[Sensitivity], *, allow_unused: bool) -> dict[str, float]:
    """Return a factor above 0 for each tensor, by name.

    The factor of a tensor without effect is such that its whole energy counts as much as that of
    the tensor that counts least; with `allow_unused`, it counts nearly nothing.
    """
    used = [s.factor * s.group.energy for s in sensitivities if s.factor]
    least = min(used, default=1.0)
    factors: dict[str, float] = {}
    for s in sensitivities:
        # One with an effect, but not with the scales that were chosen, is not free.
        share = _FREE_SHARE if allow_unused and s.is_unused else 1.0
        factors |= dict.fromkeys(s.group.names, s.factor or least * share / s.group.energy)
    return factors


def _count(s: Sensitivity) -> float:
    return s.group.count / (len(s.group.names) - len(s.group.copies))


def _make_plan(
    sensitivities: Sequence[Sensitivity],
    share: Share,
    axis: Callable[[Sensitivity], int | None],
) -> Plan:
    return {
        name: Choice(round(POSITIONS_PER_OCTAVE * share(s, name)), axis(s))
        for s in sensitivities
        for name in s.group.names
    }
