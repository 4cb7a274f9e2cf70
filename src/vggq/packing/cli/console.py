"""Output that all commands share: tables and JSON on stdout, progress on stderr."""

from __future__ import annotations

import json
import math
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..summary import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - its one name

# A table takes the width that it needs: this is only an upper bound.
_PIPED_WIDTH: Final = 10_000


def add_json_flag(parser: argparse.ArgumentParser) -> None:
    """Give a command its --json."""
    parser.add_argument("--json", action="store_true", help="print JSON on stdout, nothing else")


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    json.dump(value, sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def print_line(line: str) -> None:
    """One line on stdout, as it is."""
    sys.stdout.write(f"{line}\n")


def print_remark(line: str) -> None:
    """One line on stderr, beside the result."""
    sys.stderr.write(f"vggq: {line}\n")


def make_table(text: Sequence[str], numbers: Sequence[str]) -> Table:
    """A table with columns of text, the first of which may be folded, and then of numbers."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(text[0], overflow="fold")
    for heading in text[1:]:
        table.add_column(heading, no_wrap=True)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def cell(text: str) -> str:
    """A stranger's text for a table: it is no markup, and moves no terminal."""
    return escape(printable(text))


def print_table(table: Table) -> None:
    """A table on stdout; where it is piped, as wide as it needs to be."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    console.print(table)


def dimensions(shape: Sequence[int]) -> str:
    """A shape for a table."""
    return "x".join(map(str, shape)) or "scalar"


def decibels(sqnr: float) -> str:
    """An SQNR for a table, in dB."""
    return "exact" if sqnr == math.inf else f"{sqnr:.2f}"


def json_decibels(sqnr: float) -> float | None:
    """An SQNR for JSON, which has no infinity: None is exact, or no figure at all."""
    return None if math.isinf(sqnr) else round(sqnr, 4)


@contextmanager
def progress(description: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr while the block lasts, where stderr is a terminal.

    Gives a function of the amount done and the whole.
    """
    console = Console(stderr=True)
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
