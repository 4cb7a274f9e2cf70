"""Ratios over several machines, and what the number of threads changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restore_cases import DEFAULT_THREADS
from restore_parts import PARTS
from restore_results import is_slower

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from restore_results import Results, Table

    Range = tuple[float, float]


def ratio_range(results: Sequence[Results], title: str, reader: str) -> Range | None:
    """Return the lowest and the highest ratio of a reader, or None if no machine has one."""
    ratios = _ratios(results, title, reader)
    return (min(ratios), max(ratios)) if ratios else None


def _ratios(results: Sequence[Results], title: str, reader: str) -> list[float]:
    tables = [result.table(title) for result in results]
    ratios = [table.ratio(reader) for table in tables if table]
    return [ratio for ratio in ratios if ratio is not None]


def format_ratio(ratio: float | None) -> str:
    """Return a ratio with two decimals, or more if it is small; an empty text for None."""
    if ratio is None:
        return ""
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"


def format_ratio_range(low: float, high: float) -> str:
    """Return a range of ratios, or one ratio if both ends are the same."""
    return " to ".join(dict.fromkeys([format_ratio(low), format_ratio(high)]))


def ranges_of_titles(
    results: Sequence[Results],
) -> Iterator[tuple[str, str, list[tuple[str, Range, int]]]]:
    """Yield each title with its base, and for each reader its range and the number of machines."""
    tables = {table.title: table for result in results for table in result.tables}
    for table in sort_tables(tables.values()):
        if table.part == "threads":
            continue
        title = table.title
        readers = [row.reader for row in table.rows]
        ranges = [(r, limits, len(_ratios(results, title, r))) for r in readers
                  if (limits := ratio_range(results, title, r))]  # fmt: skip
        yield title, table.base, ranges


def sort_tables(tables: Iterable[Table]) -> list[Table]:
    """Return tables in the order of the parts of the benchmark."""
    parts = list(PARTS)
    return sorted(tables, key=lambda table: parts.index(table.part))


def lazy_readers(results: Sequence[Results]) -> set[str]:
    """Return the readers whose file stayed mapped on any machine."""
    rows = [row for result in results for table in result.tables for row in table.rows]
    return {row.reader for row in rows if row.is_lazy}


def slower_doublings(table: Table) -> list[tuple[int, int]]:
    """Return pairs of numbers of threads, of which the larger is slower than the smaller.

    A difference counts if it is larger than the interquartile range of both.
    """
    rows = {int(row.reader): row for row in table.rows if row.reader.isdecimal()}
    pairs = [(count, 2 * count) for count in sorted(rows) if 2 * count in rows]
    return [(few, many) for few, many in pairs if is_slower(rows[many], rows[few])]


def is_default_slower(table: Table) -> bool:
    """Whether the default number of threads is slower than another by more than the spread."""
    default = table.row(DEFAULT_THREADS)
    others = [row for row in table.rows if row.reader.isdecimal()]
    return default is not None and any(is_slower(default, row) for row in others)


def format_threads(results: Sequence[Results]) -> str:
    """Return what doubling the threads changes on each machine."""
    lines = [
        f"- machine {number}, {table.title}: {_describe_doublings(table)}\n"
        for number, result in enumerate(results, 1)
        for table in result.tables
        if table.part == "threads"
    ]
    if not lines:
        return ""
    return (
        "## Threads\n\nWhether doubling the threads slowed a load by more than the interquartile "
        "range:\n\n" + "".join(lines)
    )


def _describe_doublings(table: Table) -> str:
    pairs = [f"from {few} to {many} threads" for few, many in slower_doublings(table)]
    words = f"**yes**, {' and '.join(pairs)}" if pairs else "no"
    if is_default_slower(table):
        words += "; the default is not the fastest"
    return words
