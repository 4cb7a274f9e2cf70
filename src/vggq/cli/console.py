"""Output that all commands share: tables and JSON on stdout, progress on stderr."""

from __future__ import annotations

import json
import math
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from rich.table import Table

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


def print_table(table: Table) -> None:
    """A table on stdout; where it is piped, as wide as it needs to be."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    console.print(table)


def decibels(sqnr: float) -> str:
    """An SQNR for a table, in dB."""
    return "exact" if math.isinf(sqnr) else f"{sqnr:.2f}"


def json_decibels(sqnr: float) -> float | None:
    """An SQNR for JSON, which has no infinity: None is exact."""
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
