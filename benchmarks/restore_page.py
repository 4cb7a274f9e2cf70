"""The tables of `restore.py`, and the page `docs/speed.md` with the figures of several machines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from restore_cases import DEFAULT_THREADS
from restore_ranges import (
    format_ratio,
    format_ratio_range,
    format_threads,
    lazy_readers,
    ranges_of_titles,
    sort_tables,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from restore_results import Results, Row, Table

_HEAD: Final = """# Speed

How long restoring takes, next to reading float32 weights in other formats. This page is written by
`hatch run full:bench-report` from the files in `benchmarks/results/`; do
not edit it. To repeat a measurement:

    hatch run full:bench-restore --json RESULTS.json
    hatch run full:bench-report RESULTS.json [OTHER.json ...]

- **First load**: the first load of a new process, after the imports. The operating system clears
  each page of memory at its first use, and this is part of the time. All files were just written,
  and are in the page cache.
- **Times** are medians, with quartiles; the readers of a table take turns, in another order in each
  round. A **ratio** is a ratio of medians, and a range of ratios is from the lowest to the highest
  machine.
- Every reader is used as its documentation says, without a copy or a conversion.
- **Lazy** readers return before they have read the values. Their tensors are views of the mapped
  file, which must not change, and the pages are read later, at the first use. In the row "then
  every page read", one value of each page is read in addition.
- **Memory** is the peak of the memory that the load took, minus the restored tensors. A mapped file
  counts as memory.
- **Threads**: the number of threads that decode; the other tables use the default.
- **All cores**: the load follows the import at once. For some hundredths of a second after
  `import numpy`, OpenBLAS keeps its idle threads running, and they compete with those that decode.
  The tables "after the import" have loads that come later, as in programs that import more.
- **`numpy.load`, npy** reads all values as one array. numpy asks the system for huge pages
  for it.
- **Grid** and **dependent grid** have an SQNR of 41.36 dB in every tensor, about that of the
  codebooks of 8 bits, which are meant where no grid is named.

![Median times of first loads](restore.png)
"""

# The words before the first comma that is not in parentheses.
_CALL: Final = re.compile(r"(?:\([^)]*\)|[^,(])+")


def format_page(results: Sequence[Results]) -> str:
    """Return the page in Markdown."""
    sections = [_HEAD, format_machines(results)]
    sections += [format_ranges(results), format_threads(results)]
    sections += [_format_machine_tables(result) for result in results]
    return "\n".join(section for section in sections if section)


def describe(machine: dict[str, str]) -> str:
    """Return the name of a machine in headings: its processor, number of cores, and GPU."""
    gpu = f", {machine['GPU']}" if "GPU" in machine else ""
    return describe_processor(machine) + gpu


def describe_processor(machine: dict[str, str]) -> str:
    """Return the processor of a machine, and the number of cores."""
    return f"{machine['processor']}, {machine['cores']} cores"


def format_machine(machine: dict[str, str]) -> str:
    """Return the properties of a machine as lines of text."""
    return "\n".join(f"{name}: {text}" for name, text in machine.items())


def format_machines(results: Sequence[Results]) -> str:
    """Return a table of the machines."""
    names = list(dict.fromkeys(name for result in results for name in result.machine))
    rows = [[name, *(result.machine.get(name, "none") for result in results)] for name in names]
    header = ["", *(f"machine {n}" for n in range(1, len(results) + 1))]
    return "## Machines\n\n" + format_rows(header, rows)


def format_ranges(results: Sequence[Results]) -> str:
    """Return the ratio of each reader, as a range over the machines."""
    lazy = lazy_readers(results)
    sections = [
        "## Ratios on all machines\n\nMedian of each reader / that of the reader in the heading.\n"
    ]
    for title, base, ranges in ranges_of_titles(results):
        rows = [
            [f"{_code(reader)}{_lazy_note(reader, lazy)}", format_ratio_range(*limits), str(count)]
            for reader, limits, count in ranges
        ]
        sections.append(format_rows([title, f"/ {_code(base)}", "machines"], rows))
    return "\n".join(sections)


def _format_machine_tables(result: Results) -> str:
    tables = [format_table(table) for table in sort_tables(result.tables)]
    return f"## {describe(result.machine)}\n\n" + "\n".join(tables)


def format_table(table: Table) -> str:
    """Return the figures of a table in Markdown."""
    columns = [_format_time, _format_quartiles]
    header = [table.title, "median", "quartiles", "ratio"]
    rows = []
    for row in table.rows:
        ratio = format_ratio(table.ratio(row.reader))
        figures = [column(row) for column in columns]
        rows.append([_name(row), *figures, ratio, _format_memory(row), _format_equal(row)])
    for index, name in ((5, "equal bits"), (4, "memory")):
        if any(row[index] for row in rows):
            header.insert(4, name)
        else:
            rows = [row[:index] + row[index + 1 :] for row in rows]
    return format_rows(header, rows)


def format_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, with the first column aligned to the left."""
    ruler = ["---", *("---:" for _ in header[1:])]
    lines = [" | ".join(row) for row in (header, ruler, *rows)]
    return "".join(f"| {line} |\n" for line in lines).replace("|  |", "| |")


def _name(row: Row) -> str:
    if row.reader.isdecimal() or row.reader == DEFAULT_THREADS:
        return f"threads: {row.reader}"
    return _code(row.reader) + (" (lazy)" if row.is_lazy else "")


def _code(reader: str) -> str:
    call = _CALL.match(reader)
    return f"`{call[0]}`{reader[call.end() :]}" if call else reader


def _lazy_note(reader: str, lazy: set[str]) -> str:
    return " (lazy)" if reader in lazy else ""


def _format_time(row: Row) -> str:
    return f"{row.median * 1e3:.1f} ms"


def _format_quartiles(row: Row) -> str:
    low, high = row.quartiles
    return f"{low * 1e3:.1f} to {high * 1e3:.1f}"


def _format_memory(row: Row) -> str:
    if row.overhead is None or row.mapped:
        return ""
    return f"{max(row.overhead, 0) / 1e6:.1f} MB"


def _format_equal(row: Row) -> str:
    return {True: "yes", False: "**no**", None: ""}[row.equal]
