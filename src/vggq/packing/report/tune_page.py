"""The page about a run of `vggq tune`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..metrics import format_sqnr
from ..sizes import megabytes
from .charts import draw_chart
from .page import Page, PageCell, PageRow, PageTable, write_page
from .svg import ACCENT, INK, MUTED, SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..tuning import Sensitivity, Tuned
    from .charts import Chart
    from .svg import Plot

_MAX_LABELS = 12


def report_tuning(source: str, tuned: Tuned, target: Path) -> None:
    """Write an HTML page about a run: tensors by effect, and the metric of every trial.

    Args:
        source: the name of the source.
        tuned: the result of the run.
        target: the .html file to write or replace.

    Raises:
        TargetError: the page cannot be written.
        MissingDependencyError: a library of the `report` extra is not installed.

    """
    groups = tuned.sensitivities.groups
    page = Page(
        title=f"{source}, tuned for {tuned.goal.describe(tuned.objective)}",
        lead=f"{len(tuned.history)} trials, {len(tuned.finalists)} of them packed as files; "
        f"{tuned.evaluations} evaluations in {tuned.seconds:.0f} s.",
        facts=_list_facts(tuned),
        table=_make_table(groups),
        charts=[_draw_effects(groups), _draw_trials(tuned)],
    )
    write_page(page, target)


def _list_facts(tuned: Tuned) -> list[tuple[str, str]]:
    best = tuned.best
    return [
        ("chosen", best.label),
        ("packed size", megabytes(best.trial.size)),
        *(
            (f"{name}, original and packed", f"{value:.5g} and {best.trial.metrics[name]:.5g}")
            for name, value in tuned.sensitivities.original.items()
        ),
    ]


def _make_table(groups: Sequence[Sensitivity]) -> PageTable:
    headings = ("tensor", "effect", "effect per byte", "bytes", "SQNR dB", "scales along axis")
    return PageTable(
        "Tensors",
        headings,
        [_make_row(s) for s in groups],
        "Each tensor alone was quantized, and all others were exact. The effect is the change of "
        "the metric.",
    )


def _make_row(s: Sensitivity) -> PageRow:
    axis = -1 if s.axis is None else s.axis
    per_byte = s.effect / (s.size or 1)
    return PageRow(
        s.group.label,
        [
            PageCell(f"{s.effect:.3g}", s.effect),
            PageCell(f"{per_byte:.3g}", per_byte),
            PageCell(f"{s.size:,}", s.size),
            PageCell(format_sqnr(s.sqnr), s.sqnr),
            PageCell("none" if s.axis is None else str(s.axis), axis),
        ],
    )


def _draw_effects(groups: Sequence[Sensitivity]) -> Chart:
    shown = [s for s in groups if s.effect > 0 and math.isfinite(s.sqnr)]
    unused = sum(s.is_unused for s in groups)
    text = (
        "Each point is a tensor that was quantized alone. A good SQNR does not mean that the "
        f"model's answers are good. Tensors without effect, which are not shown: {unused}."
    )
    return draw_chart("Effect and SQNR", text, _effect_plot(shown))


def _effect_plot(shown: Sequence[Sensitivity]) -> Plot:
    def plot(axes: Any) -> None:
        axes.scatter([s.sqnr for s in shown], [s.effect for s in shown], s=16, color=SECOND)
        for s in shown[:_MAX_LABELS]:
            axes.annotate(
                s.group.label, (s.sqnr, s.effect), textcoords="offset points", xytext=(4, 3),
                color=INK, fontsize=7,
            )  # fmt: skip
        if shown:
            axes.set_yscale("log")
        axes.set(xlabel="SQNR, dB", ylabel="effect on the metric")
        axes.margins(x=0.2, y=0.12)

    return plot


def _draw_trials(tuned: Tuned) -> Chart:
    name = tuned.objective.metric
    best = tuned.best.trial
    text = (
        f"{name} by size of every trial. The chosen file has "
        f"{tuned.objective.value(best.metrics):.5g} in {best.size:,} bytes."
    )
    return draw_chart(f"Size and {name}", text, _trial_plot(tuned))


def _trial_plot(tuned: Tuned) -> Plot:
    objective, best = tuned.objective, tuned.best.trial
    files = [(f.trial.size / 1e6, objective.value(f.trial.metrics)) for f in tuned.finalists]
    points = [(size / 1e6, value) for _, size, value in tuned.history]

    def plot(axes: Any) -> None:
        if points:
            axes.scatter(*zip(*points, strict=True), s=9, color=MUTED, label="trials")
        axes.scatter(*zip(*files, strict=True), s=24, color=SECOND, label="files")
        axes.scatter(
            [best.size / 1e6], [objective.value(best.metrics)], s=80, marker="D", color=ACCENT,
            label="chosen",
        )  # fmt: skip
        if not tuned.goal.is_size:
            axes.axhline(
                tuned.goal.bound(objective), color=MUTED, linestyle="--", linewidth=1, label="goal"
            )
        axes.set(xlabel="MB", ylabel=objective.metric)
        axes.legend()

    return plot
