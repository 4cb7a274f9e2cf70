"""The part of README.md that `restore_report.py` writes: ratios of vggq as ranges over machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from restore_page import format_rows
from restore_ranges import format_ratio_range, ratio_range
from restore_readers import SAFETENSORS, VGGQ

if TYPE_CHECKING:
    from collections.abc import Sequence

    from restore_results import Results

BEGIN: Final = "<!-- written by benchmarks/restore_report.py -->\n"
END: Final = "<!-- end of what benchmarks/restore_report.py writes -->\n"

_CORES: Final = ("1 core", "all cores")
_ROWS: Final = {
    VGGQ: "codebooks of 8 bits (the default)",
    f"{VGGQ}, grid": "grid",
    f"{VGGQ}, dependent grid": "dependent grid",
}


def replace_block(text: str, block: str) -> str:
    """Return a page with a new text between the two marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        message = f"README.md: expected the lines {BEGIN.strip()!r} and {END.strip()!r}"
        raise ValueError(message)
    return before + BEGIN + block + END + after


def format_block(results: Sequence[Results]) -> str:
    """Return the table of ratios, and a sentence on the machines."""
    return f"{_format_ratios(results)}\n{_describe_machines(results)}"


def _describe_machines(results: Sequence[Results]) -> str:
    described = [f"{r.machine['processor']} ({r.machine['cores']} cores)" for r in results]
    machines = "machine" if len(results) == 1 else "machines"
    return (
        f"Measured on {len(results)} {machines}: {', '.join(described)}.\n"
        "A range is from the lowest to the highest ratio of these machines.\n"
    )


def _format_ratios(results: Sequence[Results]) -> str:
    titles = [f"VGG19, {cores}" for cores in _CORES]
    rows = [
        [words, *(_format_cell(results, title, reader) for title in titles)]
        for reader, words in _ROWS.items()
    ]
    count = sum(any(map(result.table, titles)) for result in results)
    scope = f", {count} of {len(results)} machines" if count < len(results) else ""
    return format_rows([f"first load / `{SAFETENSORS}`{scope}", *_CORES], rows)


def _format_cell(results: Sequence[Results], title: str, reader: str) -> str:
    limits = ratio_range(results, title, reader)
    return format_ratio_range(*limits) if limits else ""
