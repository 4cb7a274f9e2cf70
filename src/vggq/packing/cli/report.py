"""The command ``vggq report FILE -o report.html``."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ..report import check_page, report_file
from ..sizes import parse_size
from .console import add_command_parser, add_quiet_flag, print_line, show_progress
from .packed_argument import check_packed

if TYPE_CHECKING:
    from collections.abc import Callable

    from .console import Commands


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command_parser(
        commands,
        "report",
        "write an HTML page about a packed file",
        "vggq report model.vggq --against weights/model.pth -o report.html",
    )
    parser.add_argument("file", metavar="FILE", help="a .vggq file")
    parser.add_argument(
        "--against",
        metavar="SOURCE",
        help="the checkpoint it was packed from, to show errors, and the sizes and SQNRs of other "
        "settings",
    )
    parser.add_argument(
        "--no-sweep", action="store_true", help="with --against, leave out other settings"
    )
    parser.add_argument(
        "--draw",
        type=_parse_count,
        default=50,
        metavar="N",
        help="draw histograms of the N largest tensors (default 50), about 40 kB for each",
    )
    parser.add_argument(
        "--limit",
        type=_parse_limit,
        default="100 MiB",
        metavar="SIZE",
        help="maximum size of a file on the package index (default '100 MiB')",
    )
    parser.add_argument(
        "-o", "--out", required=True, type=Path, metavar="OUT", help="the .html file to write"
    )
    add_quiet_flag(parser)
    parser.set_defaults(run=_run)


def _parse_count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of tensors, found {text!r}")
    return int(text)


def _parse_limit(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _run(arguments: argparse.Namespace) -> None:
    check_page(arguments.out)
    check_packed(arguments.file)
    with ExitStack() as bars:

        def start_stage(name: str) -> Callable[[int, int], None]:
            bars.close()
            return bars.enter_context(show_progress(name))

        report_file(
            arguments.file,
            arguments.out,
            against=arguments.against,
            other_settings=not arguments.no_sweep,
            histograms=arguments.draw,
            limit=arguments.limit,
            start_stage=start_stage,
        )
    print_line(f"{arguments.out}: a page of {arguments.out.stat().st_size / 1e6:.1f} MB")
