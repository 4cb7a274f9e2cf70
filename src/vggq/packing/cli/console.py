"""Output of the commands: tables and JSON on stdout, progress bars and remarks on stderr.

rich leaves colors out if NO_COLOR is set or the output is not a terminal.
"""

from __future__ import annotations

import json
import math
import sys
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ..summary import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Sequence

    # argparse has no public name for this class.
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_DIFF_STYLES: Final = (
    ("+++", "bold"),
    ("---", "bold"),
    ("@@", "cyan"),
    ("+", "green"),
    ("-", "red"),
)
# Only an upper bound: a table is as wide as its content.
_PIPED_WIDTH: Final = 10_000


_is_quiet: ContextVar[bool] = ContextVar("_is_quiet", default=False)


def add_command_parser(
    commands: Commands, name: str, help_text: str, *examples: str
) -> argparse.ArgumentParser:
    """Add a command, whose help ends with examples.

    Args:
        commands: the commands of the parser.
        name: the name of the command.
        help_text: what the command does, for the list of commands and for its own help.
        examples: command lines to type.

    """
    heading = "example" if len(examples) == 1 else "examples"
    lines = "".join(f"\n  {example}" for example in examples)
    description = f"{help_text[0].upper()}{help_text[1:]}."
    return commands.add_parser(
        name, help=help_text, description=description, epilog=f"{heading}:{lines}"
    )


def add_quiet_flag(parser: argparse.ArgumentParser | argparse._MutuallyExclusiveGroup) -> None:
    """Add the option --quiet to a command."""
    help_text = "print nothing but errors; the exit code has the result"
    parser.add_argument("-q", "--quiet", action="store_true", help=help_text)


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """Add the options --json and --quiet to a command, of which one can be given."""
    group = parser.add_mutually_exclusive_group()
    add_json_flag(group)
    add_quiet_flag(group)


@contextmanager
def quiet_output(*, is_quiet: bool) -> Iterator[None]:
    """Print neither results nor remarks nor progress during the block, if it is quiet."""
    token = _is_quiet.set(is_quiet)
    try:
        yield
    finally:
        _is_quiet.reset(token)


def add_json_flag(parser: argparse.ArgumentParser | argparse._MutuallyExclusiveGroup) -> None:
    """Add the option --json to a command."""
    parser.add_argument("--json", action="store_true", help="print only one JSON document")


def print_json(value: object) -> None:
    """Print a JSON document on stdout."""
    json.dump(value, sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def print_line(line: str) -> None:
    """Print a line on stdout, without markup."""
    if not _is_quiet.get():
        sys.stdout.write(f"{line}\n")


def print_remark(line: str) -> None:
    """Print a line on stderr, apart from the result."""
    if not _is_quiet.get():
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
    if _is_quiet.get():
        return
    console = Console(highlight=False)
    # FORCE_COLOR makes rich take a pipe for a terminal of 80 columns.
    if not sys.stdout.isatty():
        console.width = _PIPED_WIDTH
    console.print(table)


def print_diff(lines: Iterable[str]) -> None:
    """Print the lines of a unified diff on stdout, in colors if it is a terminal."""
    if _is_quiet.get():
        return
    console = Console(highlight=False)
    for line in lines:
        shown = "\t".join(map(printable, line.split("\t")))
        if console.is_terminal:
            style = next((s for start, s in _DIFF_STYLES if line.startswith(start)), "")
            console.print(Text(shown, style), soft_wrap=True)
        else:
            print_line(shown)


def format_shape(shape: Sequence[int]) -> str:
    """Return a shape as text, such as 64x3x3x3."""
    return "x".join(map(str, shape)) or "scalar"


def sqnr_as_json(sqnr: float) -> float | None:
    """Return an SQNR for JSON, which has no infinity: None if it is exact or undefined."""
    return None if math.isinf(sqnr) else round(sqnr, 4)


@contextmanager
def user_output() -> Iterator[None]:
    """Print what the function of a user prints on stderr, so that stdout has only the result."""
    with redirect_stdout(sys.stderr):
        yield


@contextmanager
def show_progress(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on stderr during the block, if stderr is a terminal.

    Yields:
        A function to call with the amount done, and the total.

    """
    console = Console(stderr=True)
    # Old versions of rich print an empty line even for a disabled progress bar. FORCE_COLOR asks
    # for colors, but not for a bar in the log of a build.
    if _is_quiet.get() or not sys.stderr.isatty() or console.is_dumb_terminal:
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
