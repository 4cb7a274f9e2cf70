"""The chart of `restore_report.py`: median times of first loads on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from matplotlib.figure import Figure
from restore_page import describe_processor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from restore_results import Results, Row

_CORES: Final = ("1 core", "all cores")
_TITLES: Final = ("VGG19", "VGG19 to torch")
_OURS, _OTHERS, _LAZY = "#0b6e4f", "#9aa5b1", "#d5dae0"


def draw_chart(results: Sequence[Results], path: Path) -> None:
    """Write a PNG file with a row of panels for each machine; one core on the left."""
    figure = Figure(figsize=(12, 4.4 * len(results)), layout="constrained")
    grid = figure.subplots(len(results), 2, squeeze=False)
    for line, result in zip(grid, results, strict=True):
        for axes, cores in zip(line, _CORES, strict=True):
            title = f"first load of VGG19, {cores}\n{describe_processor(result.machine)}"
            _draw_panel(axes, find_rows(result, cores), title)
    figure.savefig(path, dpi=100)


def find_rows(result: Results, cores: str) -> list[Row]:
    """Return the rows of a panel: those of the tables of VGG19."""
    tables = [result.table(f"{title}, {cores}") for title in _TITLES]
    return [row for table in tables if table for row in table.rows]


def _draw_panel(axes: Any, rows: Sequence[Row], title: str) -> None:
    medians = [row.median * 1e3 for row in rows]
    spreads = [
        [abs(row.quartiles[side] * 1e3 - m) for row, m in zip(rows, medians, strict=True)]
        for side in (0, 1)
    ]
    names = [row.reader + (" (lazy)" if row.is_lazy else "") for row in rows]
    bars = axes.barh(
        names, medians, xerr=spreads, color=[_color(row) for row in rows], ecolor="#555"
    )
    axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize=8)
    axes.set_xlabel("median in ms, with quartiles; less is better", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.15)


def _color(row: Row) -> str:
    if row.reader.startswith("vggq"):
        return _OURS
    return _LAZY if row.is_lazy else _OTHERS
