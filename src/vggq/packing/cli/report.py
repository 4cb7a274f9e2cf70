"""``vggq report FILE -o report.html``."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ..report import check_page, report_file
from ..sizes import parse_size
from .console import print_line, progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from .console import Commands


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("report", help="write a page of what a packed file holds")
    parser.add_argument("file", metavar="FILE", help="a .vggq file")
    parser.add_argument(
        "--against",
        metavar="SOURCE",
        help="the checkpoint it was packed from: shows errors, and what other goals would give",
    )
    parser.add_argument(
        "--no-sweep", action="store_true", help="with --against, leave the other goals out"
    )
    parser.add_argument(
        "--draw",
        type=_count,
        default=50,
        metavar="N",
        help="histograms of the N largest tensors (default 50); a tensor takes about 40 kB",
    )
    parser.add_argument(
        "--limit",
        type=_size,
        default="100 MiB",
        metavar="SIZE",
        help="the most that the package index takes of a file (default '100 MiB')",
    )
    parser.add_argument(
        "-o", "--out", required=True, type=Path, metavar="OUT", help="the .html file to write"
    )
    parser.set_defaults(run=_run)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of tensors, found {text!r}")
    return int(text)


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _run(arguments: argparse.Namespace) -> None:
    check_page(arguments.out)
    with ExitStack() as bars:

        def stage(name: str) -> Callable[[int, int], None]:
            bars.close()
            return bars.enter_context(progress(name))

        report_file(
            arguments.file,
            arguments.out,
            against=arguments.against,
            others=not arguments.no_sweep,
            draw=arguments.draw,
            limit=arguments.limit,
            stage=stage,
        )
    print_line(f"{arguments.out}: a page of {arguments.out.stat().st_size / 1e6:.1f} MB")
