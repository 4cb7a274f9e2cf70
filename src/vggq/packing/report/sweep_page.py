"""The page about a sweep."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from ..metrics import format_sqnr
from ..sizes import megabytes
from ..summary import goal_kind, goal_label, restored_size
from .charts import draw_chart, line_plot
from .page import Page, PageCell, PageRow, PageTable, write_page

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from .. import Variant
    from ..sweeps import Scores
    from .charts import Chart, LabeledPoints


def report_sweep(
    source: str | os.PathLike[str],
    variants: Sequence[Variant],
    target: Path,
    original: Scores | None = None,
) -> None:
    """Write an HTML page about the results of a sweep.

    Args:
        source: the path of the source; its last part names it.
        variants: the results, at least one.
        target: the .html file to write or replace.
        original: the scores of the source before quantization.

    Raises:
        TargetError: the page cannot be written.
        MissingDependencyError: a library of the `report` extra is not installed.

    """
    names = score_names(variants, original)
    manifest = variants[0].manifest
    # A source such as "." has no last part.
    name = Path(source).absolute().name
    page = Page(
        title=f"{name}, packed with {len(variants)} setting{'s' if len(variants) > 1 else ''}",
        lead=f"{manifest.source_format}, sha256 {manifest.source_sha256}.",
        facts=_list_facts(variants, original or {}),
        table=_make_table(variants, names, original),
        charts=list(_make_charts(variants, names, original or {})),
    )
    write_page(page, target)


def score_names(variants: Sequence[Variant], original: Scores | None) -> list[str]:
    """Return the names of all scores, each once, in the order of their first appearance."""
    tables = [original or {}, *(v.scores for v in variants)]
    return list(dict.fromkeys(name for table in tables for name in table))


def _list_facts(variants: Sequence[Variant], original: Scores) -> list[tuple[str, str]]:
    sizes = [v.size for v in variants]
    return [
        ("restored size", megabytes(restored_size(variants[0].manifest))),
        ("smallest file", megabytes(min(sizes))),
        ("largest file", megabytes(max(sizes))),
        ("tensors", str(len(variants[0].manifest.tensors))),
        *((f"{name}, original", f"{value:.5g}") for name, value in original.items()),
    ]


def _make_charts(
    variants: Sequence[Variant], names: Iterable[str], original: Scores
) -> Iterable[Chart]:
    sqnrs = _lines_of(variants, {id(v): v.manifest.sqnr for v in variants})
    if sqnrs:
        plot = line_plot(sqnrs, ("MB", "SQNR, dB"))
        yield draw_chart("Size and SQNR", _describe_lines("SQNR in dB", sqnrs), plot)
    for name in names:
        scores = _lines_of(variants, {id(v): v.scores.get(name, math.nan) for v in variants})
        level = original.get(name, math.nan)
        if scores:
            reference = (level, "original") if math.isfinite(level) else None
            plot = line_plot(scores, ("MB", name), reference)
            yield draw_chart(f"Size and {name}", _describe_lines(name, scores), plot)


def _lines_of(variants: Sequence[Variant], values: dict[int, float]) -> dict[str, LabeledPoints]:
    """Return the finite values by size, with one line for each kind of goal."""
    lines: dict[str, list[tuple[float, float, str]]] = {}
    for v in variants:
        if math.isfinite(values[id(v)]):
            point = (v.size / 1e6, values[id(v)], goal_label(v.options.goal))
            lines.setdefault(goal_kind(v.options.goal), []).append(point)
    return {name: sorted(points) for name, points in lines.items()}


def _describe_lines(name: str, lines: Mapping[str, LabeledPoints]) -> str:
    points = sorted(point for line in lines.values() for point in line)
    ends = [f"{value:.4g} at {size:.4g} MB ({label})" for size, value, label in points]
    return f"{name} by size, from {ends[0]} to {ends[-1]}. The table below has all numbers."


def _make_table(
    variants: Sequence[Variant], names: list[str], original: Scores | None
) -> PageTable:
    headings = ("bytes", "ratio", "SQNR dB", "worst dB", "pack s", "restore s")
    rows = [_make_row(v, names) for v in variants]
    if original is not None:
        size = restored_size(variants[0].manifest)
        exact = [PageCell("exact", math.inf)] * 2
        blank = [PageCell("", math.nan)] * 2
        cells = [PageCell(f"{size:,}", size), PageCell("1.00", 1.0), *exact, *blank]
        rows.insert(0, PageRow("unquantized", [*cells, *_score_cells(original, names)]))
    return PageTable("Settings", ("setting", *headings, *names), rows)


def _make_row(v: Variant, names: list[str]) -> PageRow:
    worst = v.manifest.worst.sqnr if v.manifest.worst else math.inf
    cells = [
        PageCell(f"{v.size:,}", v.size),
        PageCell(f"{v.ratio:.2f}", v.ratio),
        *(PageCell(format_sqnr(sqnr), sqnr) for sqnr in (v.manifest.sqnr, worst)),
        PageCell(f"{v.pack_seconds:.1f}", v.pack_seconds),
        PageCell(f"{v.restore_seconds:.3f}", v.restore_seconds),
    ]
    return PageRow(goal_label(v.options.goal), [*cells, *_score_cells(v.scores, names)])


def _score_cells(scores: Scores, names: list[str]) -> list[PageCell]:
    found = [scores.get(name) for name in names]
    return [PageCell("", math.nan) if x is None else PageCell(f"{x:.5g}", x) for x in found]
