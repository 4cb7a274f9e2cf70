"""The page of a sweep."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..sizes import megabytes
from ..summary import kind, label
from .charts import chart, line_chart
from .packed_file import decibels
from .page import Cell, Page, Row, Table, write_page

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from .. import Variant
    from ..sweeps import Scores
    from .charts import Chart, Labelled


def report_sweep(
    source: str, variants: Sequence[Variant], target: Path, original: Scores | None = None
) -> None:
    """Write the page of what a sweep found.

    Args:
        source: its name.
        variants: at least one.
        target: the .html file to write or replace.
        original: what the task's own judgement gave of the source itself.

    Raises:
        TargetError: the page cannot be written.
        MissingDependencyError: a library of the `report` extra is not installed.

    """
    names = score_names(variants, original)
    manifest = variants[0].manifest
    page = Page(
        title=f"{source}, packed in {len(variants)} way{'s' if len(variants) > 1 else ''}",
        lead=f"{manifest.source_format}, sha256 {manifest.source_sha256}.",
        figures=_figures(variants, original or {}),
        table=_table(variants, names, original),
        charts=list(_charts(variants, names, original or {})),
    )
    write_page(page, target)


def score_names(variants: Sequence[Variant], original: Scores | None) -> list[str]:
    """The names of all scores, in the order in which they were first given."""
    tables = [original or {}, *(v.scores for v in variants)]
    return list(dict.fromkeys(name for table in tables for name in table))


def _figures(variants: Sequence[Variant], original: Scores) -> list[tuple[str, str]]:
    sizes = [v.size for v in variants]
    return [
        ("as restored", megabytes(variants[0].manifest.float32_size)),
        ("smallest", megabytes(min(sizes))),
        ("largest", megabytes(max(sizes))),
        ("tensors", str(len(variants[0].manifest.tensors))),
        *((f"{name}, original", f"{value:.5g}") for name, value in original.items()),
    ]


def _charts(variants: Sequence[Variant], names: Iterable[str], original: Scores) -> Iterable[Chart]:
    sqnrs = _lines(variants, {id(v): v.manifest.sqnr for v in variants})
    if sqnrs:
        drawn = line_chart(sqnrs, ("MB", "SQNR, dB"))
        yield chart("Size and fidelity", _words("SQNR in dB", sqnrs), drawn)
    for name in names:
        found = _lines(variants, {id(v): v.scores.get(name, math.nan) for v in variants})
        level = original.get(name, math.nan)
        if found:
            beside = (level, "original") if math.isfinite(level) else None
            drawn = line_chart(found, ("MB", name), beside)
            yield chart(f"Size and {name}", _words(name, found), drawn)


def _lines(variants: Sequence[Variant], values: dict[int, float]) -> dict[str, Labelled]:
    """The finite values by size, a line for each kind of goal."""
    lines: dict[str, list[tuple[float, float, str]]] = {}
    for v in variants:
        if math.isfinite(values[id(v)]):
            point = (v.size / 1e6, values[id(v)], label(v.options))
            lines.setdefault(kind(v.options), []).append(point)
    return {name: sorted(points) for name, points in lines.items()}


def _words(name: str, lines: Mapping[str, Labelled]) -> str:
    found = sorted(point for points in lines.values() for point in points)
    ends = [f"{value:.4g} in {size:.4g} MB ({text})" for size, value, text in found]
    return f"{name} by size, from {ends[0]} to {ends[-1]}. All figures are in the table below."


def _table(variants: Sequence[Variant], names: list[str], original: Scores | None) -> Table:
    figures = ("bytes", "ratio", "SQNR dB", "worst dB", "pack s", "restore s")
    rows = [_row(v, names) for v in variants]
    if original is not None:
        size = variants[0].manifest.float32_size
        cells = [Cell(f"{size:,}", size), Cell("1.00", 1.0), *[Cell("exact", math.inf)] * 2]
        blank = [Cell("", math.nan)] * 2
        rows.insert(0, Row("not at all", [*cells, *blank, *_scores(original, names)]))
    return Table("Ways of packing", ("packed at", *figures, *names), rows)


def _row(v: Variant, names: list[str]) -> Row:
    worst = v.manifest.worst.sqnr if v.manifest.worst else math.inf
    cells = [
        Cell(f"{v.size:,}", v.size),
        Cell(f"{v.ratio:.2f}", v.ratio),
        *(Cell(decibels(x).removesuffix(" dB"), x) for x in (v.manifest.sqnr, worst)),
        Cell(f"{v.pack_seconds:.1f}", v.pack_seconds),
        Cell(f"{v.restore_seconds:.3f}", v.restore_seconds),
    ]
    return Row(label(v.options), [*cells, *_scores(v.scores, names)])


def _scores(scores: Scores, names: list[str]) -> list[Cell]:
    found = [scores.get(name) for name in names]
    return [Cell("", math.nan) if x is None else Cell(f"{x:.5g}", x) for x in found]
