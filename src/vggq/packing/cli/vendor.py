"""``vggq vendor FOLDER``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..vendoring import requirements, vendor
from .console import print_line

if TYPE_CHECKING:
    import argparse

    from .console import Commands


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "vendor", help="copy the run-time modules into a package of your own"
    )
    parser.add_argument("folder", metavar="FOLDER", help="such as src/mypackage/_vggq")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    copy = vendor(Path(arguments.folder))
    print_line(
        f"{copy.folder}: vggq {copy.version}; commit it, and depend on {', '.join(requirements())}"
    )
