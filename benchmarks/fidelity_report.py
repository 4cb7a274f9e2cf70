"""The report of `fidelity.py`: tables of all points, and a summary of vggq against its peers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from fidelity_chart import draw_rate_distortion

if TYPE_CHECKING:
    from pathlib import Path

    from fidelity_budgets import SizeTrial
    from fidelity_models import BenchmarkModel
    from fidelity_points import Point

_VGGQ: Final = "vggq"
# The summary counts points from 2 to 8 bits per weight.
_MIN_BITS: Final = 2.0
_MAX_BITS: Final = 8.0
_MIN_BUDGET_USE: Final = 0.98
# About the SQNR of VGG19 with 8-bit codebooks.
_SPEED_SQNR: Final = 41.4
_HEAD: Final = """# Fidelity at a size

This page compares vggq with other packers at the same size. It is written by
`hatch run fidelity:run` ([`benchmarks/fidelity.py`](../benchmarks/fidelity.py)); do not edit it.

- **Tensors**: every packer stores the same tensors exactly, those of fewer than two dimensions or
  1,000 weights.
- **Size**: the bytes that a file takes in a wheel, unchanged or deflated, whichever is smaller.
- **SQNR** (signal to quantization noise ratio, in dB; more is better): of all quantized tensors
  together (overall), of the worst tensor (worst), and of the mean over the tensors of
  error / energy (mean).
- **Margin**: the SQNR of vggq's best goal minus that of the packer, at the same size. vggq's SQNR
  at that size is interpolated linearly between the points of each goal (`bits`, `sqnr`, `size`);
  `n/a` means that the size is outside all of them.
- **Time**: packing runs on all cores, restoring on one core. A time to restore is the median of up
  to nine rounds.
- **Packers**: `vggq bits` uses k-means codebooks, the other goals of vggq use the `grid` codec.
  `k-means, exact` uses kmeans1d, which would take hours on VGG19. `k-means, DP` uses this project's
  dynamic programme, which is within 0.002 dB of exact. Of NNCodec, `one qp` uses one quantization
  parameter for all tensors, and `qp of each tensor` makes the step size proportional to the
  standard deviation of each tensor. All other parameters of NNCodec are its defaults.

![Rate-distortion chart](fidelity.png)
"""


@dataclass(frozen=True)
class ModelResult:
    """All results of one model.

    Attributes:
        model: the model.
        weights: its number of weights.
        points: the points of all packers.
        missing: the error for each packer that could not be run.
        trials: the results for random sizes.

    """

    model: BenchmarkModel
    weights: int
    points: list[Point]
    missing: dict[str, str]
    trials: list[SizeTrial]


@dataclass(frozen=True)
class Margin:
    """The advantage of vggq over a peer at the peer's size.

    Attributes:
        point: the point of the peer.
        overall: the difference in overall SQNR in dB; None if vggq has no points around this size.
        relative: the same for the mean of error / energy.

    """

    point: Point
    overall: float | None
    relative: float | None

    @property
    def is_counted(self) -> bool:
        """Whether the rate is in the range that the summary counts."""
        return _MIN_BITS <= self.point.bits <= _MAX_BITS

    @property
    def is_negative(self) -> bool:
        """Whether the peer has the higher SQNR, overall or in the mean."""
        margins = (self.overall, self.relative)
        return any(margin is not None and margin < 0 for margin in margins)


def write_report(results: list[ModelResult], folder: Path) -> None:
    """Write `fidelity.md` and `fidelity.png` into a folder."""
    text = "\n".join([_HEAD, _summarize(results), *(_make_section(result) for result in results)])
    (folder / "fidelity.md").write_text(text)
    panels = [(result.model.name, result.points) for result in results]
    draw_rate_distortion(panels, folder / "fidelity.png")


def compute_margins(points: list[Point]) -> list[Margin]:
    """Return the margin of vggq for each point of a peer."""
    return [
        Margin(point, _margin(points, point, "overall"), _margin(points, point, "relative"))
        for point in points
        if not point.packer.startswith(_VGGQ)
    ]


def _margin(points: list[Point], peer: Point, metric: str) -> float | None:
    names = {point.packer for point in points if point.packer.startswith(_VGGQ)}
    values = []
    for name in names:
        curve = sorted((p.size, getattr(p, metric)) for p in points if p.packer == name)
        if curve[0][0] <= peer.size <= curve[-1][0]:
            curve_sizes, curve_values = zip(*curve, strict=True)
            values.append(float(np.interp(peer.size, curve_sizes, curve_values)))
    return max(values) - float(getattr(peer, metric)) if values else None


def _summarize(results: list[ModelResult]) -> str:
    lines = ["## Summary\n"]
    for result in results:
        lines += _summarize_margins(result)
        lines += [f"  - {name} is missing: {error}" for name, error in result.missing.items()]
        lines += _compare_speed(result.points)
    return "\n".join([*lines, *_summarize_trials(results), ""])


def _summarize_margins(result: ModelResult) -> list[str]:
    counted = [margin for margin in compute_margins(result.points) if margin.is_counted]
    negative = [margin for margin in counted if margin.is_negative]
    return [
        (
            f"- {result.model.name}: vggq has the higher SQNR, overall and in the mean, than "
            f"{len(counted) - len(negative)} of the {len(counted)} points of other packers from "
            f"{_MIN_BITS:g} to {_MAX_BITS:g} bits per weight. "
            f"Its smallest margins are {_smallest(counted, 'overall')} dB overall and "
            f"{_smallest(counted, 'relative')} dB in the mean."
        ),
        *(
            f"  - **worse** than {m.point.packer} ({m.point.setting}, {m.point.bits:.2f} bits): "
            f"{_signed(m.overall)} dB overall, {_signed(m.relative)} dB in the mean"
            for m in negative
        ),
    ]


def _smallest(margins: list[Margin], metric: str) -> str:
    values = [getattr(m, metric) for m in margins if getattr(m, metric) is not None]
    return _signed(min(values)) if values else "n/a"


def _compare_speed(points: list[Point]) -> list[str]:
    """Compare the times to restore of NNCodec and of vggq at about the same SQNR."""
    peer = _nearest(points, "NNCodec, one qp", _SPEED_SQNR)
    lines = []
    for name in ("vggq sqnr", "vggq sqnr, independent"):
        own = _nearest(points, name, _SPEED_SQNR)
        if peer and own:
            lines.append(
                f"  - restoring on one core: {peer.restore:.2f} s by NNCodec at "
                f"{peer.overall:.1f} dB, {own.restore:.3f} s by {name} at {own.overall:.1f} dB: "
                f"{peer.restore / own.restore:.1f} times as fast"
            )
    return lines


def _nearest(points: list[Point], packer: str, sqnr: float) -> Point | None:
    candidates = [point for point in points if point.packer == packer]
    return min(candidates, key=lambda point: abs(point.overall - sqnr), default=None)


def _summarize_trials(results: list[ModelResult]) -> list[str]:
    trials = [trial for result in results for trial in result.trials]
    if not trials:
        return []
    uses = [t.packed_size / t.size for t in trials if t.packed_size is not None]
    over, under = sum(use > 1 for use in uses), sum(use < _MIN_BUDGET_USE for use in uses)
    smallest = f"{100 * min(uses):.2f} %" if uses else "n/a"
    refusals = [f"  - {t.size:,} bytes: {t.refusal}" for t in trials if t.packed_size is None]
    return [
        (
            f"- `size`: of {len(trials)} random sizes {over} were exceeded, "
            f"{under} were used by less than {100 * _MIN_BUDGET_USE:.0f} %, and {len(refusals)} "
            f"were refused; the smallest use is {smallest}"
        ),
        *refusals,
    ]


def _make_section(result: ModelResult) -> str:
    by_point = {id(margin.point): margin for margin in compute_margins(result.points)}
    lines = [
        f"## {result.model.name}: {result.weights:,} weights\n",
        *_describe_accuracy(result.model),
        (
            "| packer | setting | bytes | bits per weight | SQNR overall | SQNR worst | SQNR mean "
            "| accuracy | margin overall | margin mean | pack | restore |"
        ),
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    points = sorted(result.points, key=lambda point: point.size)
    rows = [_make_point_row(point, by_point.get(id(point))) for point in points]
    return "\n".join([*lines, *rows, ""])


def _describe_accuracy(model: BenchmarkModel) -> list[str]:
    if model.accuracy is None:
        return []
    return [f"Accuracy of the float32 weights: {100 * model.accuracy(model.state):.1f} %.\n"]


def _make_point_row(point: Point, margin: Margin | None) -> str:
    accuracy = "n/a" if point.accuracy is None else f"{100 * point.accuracy:.1f} %"
    sqnrs = [f"{value:.2f}" for value in (point.overall, point.worst, point.relative)]
    margins = [_signed(margin.overall), _signed(margin.relative)] if margin else ["", ""]
    cells = [
        point.packer, point.setting, f"{point.size:,}", f"{point.bits:.2f}", *sqnrs, accuracy,
        *margins, f"{point.pack:.1f} s", f"{1e3 * point.restore:,.0f} ms",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _signed(value: float | None) -> str:
    return "n/a" if value is None else f"{value:+.2f}"
