"""Output of the commands: tables and JSON on stdout, progress bars and remarks on stderr."""

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

    # argparse has no public name for this class.
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

# Only an upper bound: a table is as wide as its content.
_PIPED_WIDTH: Final = 10_000


def add_json_flag(parser: argparse.ArgumentParser) -> None:
    """Add the option --json to a command."""
    parser.add_argument("--json", action="store_true", help="print only one JSON document")


def print_json(value: object) -> None:
    """Print a JSON document on stdout."""
    json.dump(value, sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def print_line(line: str) -> None:
    """Print a line on stdout, without markup."""
    sys.stdout.write(f"{line}\n")


def print_remark(line: str) -> None:
    """Print a line on stderr, apart from the result."""
    sys.stderr.write(f"vggq: {line}\n")


def make_table(text: Sequence[str], numbers: Sequence[str]) -> Table:
    """Return an empty table.

    Args:
        text: headings of the columns of text; the first column is folded if it is too wide.
        numbers: headings of the columns of numbers, which follow.

    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(text[0], overflow="fold")
    for heading in text[1:]:
        table.add_column(heading, no_wrap=True)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def escape_cell(text: str) -> str:
    """Return untrusted text for a table, without markup and control characters."""
    return escape(printable(text))


def print_table(table: Table) -> None:
    """Print a table on stdout, in its full width if stdout is not a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    console.print(table)


def format_shape(shape: Sequence[int]) -> str:
    """Return a shape as text, such as 64x3x3x3."""
    return "x".join(map(str, shape)) or "scalar"


def sqnr_as_json(sqnr: float) -> float | None:
    """Return an SQNR for JSON, which has no infinity: None if it is exact or undefined."""
    return None if math.isinf(sqnr) else round(sqnr, 4)


@contextmanager
def show_progress(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on stderr during the block, if stderr is a terminal.

    Yields:
        A function to call with the amount done, and the total.

    """
    console = Console(stderr=True)
    # Old versions of rich print an empty line even for a disabled progress bar.
    if not console.is_terminal:
        yield lambda *_: None
        return
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
