"""The table, and what follows from it: who is above whom at equal bytes, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from fidelity_chart import draw_chart

if TYPE_CHECKING:
    from pathlib import Path

    from fidelity_budgets import Budget
    from fidelity_models import Model
    from fidelity_points import Point

OURS: Final = "vggq"
_RATES: Final = (2.0, 8.0)
_FULL: Final = 0.98
_FIDELITY: Final = 41.4
_HEAD: Final = """# Fidelity at a size

Written by `hatch run fidelity:run` ([`benchmarks/fidelity.py`](../benchmarks/fidelity.py)), not by
hand. Every packer keeps the same tensors exactly: those of fewer than two dimensions or 1,000
weights. Bytes are those in a wheel, the file as it is or deflated, whichever is less. SQNR is that
of all quantized tensors together (overall), of the worst of them, and of the mean over the tensors
of error / energy (mean). The margins are what the best of vggq has more, in dB, than a packer at
the same bytes, overall and in the mean; vggq's points are joined by straight lines, each way of
asking for itself, and it has none outside of them. Packing is on all cores, restoring on one, the
median of up to nine.

`vggq bits` are k-means codebooks, all else of vggq is the `grid` codec. `exact` k-means is
kmeans1d's; on VGG19 it would take hours for all widths, so `DP` is this project's dynamic
programme, which is within 0.002 dB of it. NNCodec's `qp of each tensor` is its step in
proportion to each tensor's deviation; both are its defaults otherwise.

![Rate-distortion chart](fidelity.png)
"""


@dataclass(frozen=True)
class Result:
    """All of one model; `absent` says why a packer is not there."""

    model: Model
    weights: int
    points: list[Point]
    absent: dict[str, str]
    budgets: list[Budget]


@dataclass(frozen=True)
class Margin:
    """What vggq has more than a peer's point at its bytes, in dB; none where it has no points."""

    point: Point
    overall: float | None
    relative: float | None

    @property
    def lost(self) -> bool:
        """Whether a peer is above, at a rate that counts."""
        found = [margin for margin in (self.overall, self.relative) if margin is not None]
        return _RATES[0] <= self.point.bits <= _RATES[1] and any(margin < 0 for margin in found)


def write(results: list[Result], folder: Path) -> None:
    """`fidelity.md` and `fidelity.png`."""
    text = "\n".join([_HEAD, _summary(results), *(_section(result) for result in results)])
    (folder / "fidelity.md").write_text(text)
    draw_chart([(r.model.name, r.points) for r in results], folder / "fidelity.png")


def margins(points: list[Point]) -> list[Margin]:
    """One for each point of a peer."""
    peers = [point for point in points if not point.packer.startswith(OURS)]
    return [Margin(p, _margin(points, p, "overall"), _margin(points, p, "relative")) for p in peers]


def _margin(points: list[Point], peer: Point, metric: str) -> float | None:
    names = {point.packer for point in points if point.packer.startswith(OURS)}
    found = []
    for name in names:
        curve = sorted((p.size, getattr(p, metric)) for p in points if p.packer == name)
        if curve[0][0] <= peer.size <= curve[-1][0]:
            sizes, heights = zip(*curve, strict=True)
            found.append(float(np.interp(peer.size, sizes, heights)))
    return max(found) - float(getattr(peer, metric)) if found else None


def _summary(results: list[Result]) -> str:
    lines = ["## What follows\n"]
    for result in results:
        found = margins(result.points)
        counted = [m for m in found if _RATES[0] <= m.point.bits <= _RATES[1]]
        lost = [m for m in counted if m.lost]
        lines.append(
            f"- {result.model.name}: of {len(counted)} points of peers from 2 to 8 bits per weight "
            f"vggq is above {len(counted) - len(lost)} in both measures; "
            f"its least margins are {_least(counted, 'overall')} dB overall and "
            f"{_least(counted, 'relative')} dB in the mean."
        )
        lines += [
            f"  - **lost** to {m.point.packer} ({m.point.setting}, {m.point.bits:.2f} bits): "
            f"{_signed(m.overall)} dB overall, {_signed(m.relative)} dB in the mean"
            for m in lost
        ]
        lines += [f"  - {name} is not there: {why}" for name, why in result.absent.items()]
        lines += _speed(result.points)
    return "\n".join([*lines, *_budgets(results), ""])


def _least(found: list[Margin], metric: str) -> str:
    values = [getattr(m, metric) for m in found if getattr(m, metric) is not None]
    return _signed(min(values)) if values else "n/a"


def _speed(points: list[Point]) -> list[str]:
    """Restoring against NNCodec's decoder, at about the fidelity of VGG19's 8-bit codebooks."""
    theirs = _nearest(points, "NNCodec, one qp", _FIDELITY)
    lines = []
    for name in ("vggq sqnr", "vggq sqnr, independent"):
        own = _nearest(points, name, _FIDELITY)
        if theirs and own:
            lines.append(
                f"  - restoring, one core: NNCodec at {theirs.overall:.1f} dB "
                f"{theirs.restore:.2f} s, "
                f"{name} at {own.overall:.1f} dB {own.restore:.3f} s: "
                f"{theirs.restore / own.restore:.1f} times as fast"
            )
    return lines


def _nearest(points: list[Point], packer: str, target: float) -> Point | None:
    found = [point for point in points if point.packer == packer]
    return min(found, key=lambda point: abs(point.overall - target), default=None)


def _budgets(results: list[Result]) -> list[str]:
    drawn = [budget for result in results for budget in result.budgets]
    if not drawn:
        return []
    met = [b.found / b.size for b in drawn if b.found is not None]
    over, loose = sum(share > 1 for share in met), sum(share < _FULL for share in met)
    refusals = [f"  - {b.size:,} bytes: {b.refusal}" for b in drawn if b.found is None]
    return [
        (
            f"- `size`: {len(drawn)} budgets drawn at random, {over} exceeded, "
            f"{loose} not within 2 %; "
            f"the loosest file has {100 * min(met):.2f} % of its budget; {len(refusals)} refused:"
        ),
        *refusals,
    ]


def _section(result: Result) -> str:
    by_point = {id(margin.point): margin for margin in margins(result.points)}
    lines = [
        f"## {result.model.name}: {result.weights:,} weights\n",
        *_accuracy(result.model),
        (
            "| packer | setting | bytes | bits per weight | overall | worst | mean | accuracy "
            "| margin overall | margin mean | pack | restore |"
        ),
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    points = sorted(result.points, key=lambda point: point.size)
    rows = [_row(point, by_point.get(id(point))) for point in points]
    return "\n".join([*lines, *rows, ""])


def _accuracy(model: Model) -> list[str]:
    if model.accuracy is None:
        return []
    return [f"Accuracy of the float32 weights: {100 * model.accuracy(model.state):.1f} %.\n"]


def _row(point: Point, margin: Margin | None) -> str:
    accuracy = "n/a" if point.accuracy is None else f"{100 * point.accuracy:.1f} %"
    values = [f"{value:.2f}" for value in (point.overall, point.worst, point.relative)]
    gains = [_signed(margin.overall), _signed(margin.relative)] if margin else ["", ""]
    cells = [
        point.packer, point.setting, f"{point.size:,}", f"{point.bits:.2f}", *values, accuracy,
        *gains, f"{point.pack:.1f} s", f"{1e3 * point.restore:,.0f} ms",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _signed(value: float | None) -> str:
    return "n/a" if value is None else f"{value:+.2f}"
