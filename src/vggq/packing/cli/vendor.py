"""The command ``vggq vendor FOLDER``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..vendoring import run_time_requirements, vendor
from .console import add_command_parser, add_quiet_flag, print_line

if TYPE_CHECKING:
    import argparse

    from .console import Commands


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command_parser(
        commands,
        "vendor",
        "copy the run-time modules into your own package",
        "vggq vendor src/mypackage/_vggq",
    )
    parser.add_argument(
        "folder", metavar="FOLDER", help="the folder to write, such as src/mypackage/_vggq"
    )
    add_quiet_flag(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    copy = vendor(Path(arguments.folder))
    required = ", ".join(run_time_requirements())
    print_line(
        f"{copy.folder}: vggq {copy.version}; commit the folder, and add to your dependencies: "
        f"{required}"
    )
