"""The command ``vggq init [SOURCE]``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..init import plan_setup, render_diff, write_changes
from .console import add_command_parser, add_quiet_flag, print_diff, print_line, print_remark

if TYPE_CHECKING:
    import argparse

    from ..init import Plan
    from .console import Commands


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command_parser(
        commands,
        "init",
        "set up a project that hatchling builds, to ship a model",
        "vggq init weights/model.pth",
        "vggq init weights/rec.onnx --target src/mypackage/data/rec.vggq --yes",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        nargs="?",
        help="the model: a checkpoint of any supported format; by default the only one in the "
        "project",
    )
    parser.add_argument(
        "--target",
        metavar="TARGET",
        help="the .vggq file in the package, relative to the project (default: the name of SOURCE, "
        "in the package)",
    )
    parser.add_argument(
        "--project",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="the folder with pyproject.toml (default: the current one)",
    )
    parser.add_argument("-y", "--yes", action="store_true", help="write without asking")
    add_quiet_flag(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    root: Path = arguments.project.resolve()
    source = Path(arguments.source) if arguments.source else None
    plan = plan_setup(root, source, arguments.target)
    _show(plan, root)
    if not plan.changes:
        return 0
    if not _is_confirmed(arguments):
        print_remark("nothing was written; add --yes to write the changes")
        return 1
    write_changes(plan.changes)
    written = ", ".join(change.path.name for change in plan.changes)
    print_line(
        f"wrote {written}; now change your code as shown, and build as always, for example with "
        "`python -m build`"
    )
    return 0


def _show(plan: Plan, root: Path) -> None:
    print_diff(render_diff(plan.changes, root))
    if not plan.changes:
        print_line("nothing to change: the project is set up")
    print_line("\nThe lines of Python in your package:\n")
    for line in plan.usage.splitlines():
        print_line(f"    {line}".rstrip())
    print_line("")
    for remark in plan.remarks:
        print_remark(remark)


def _is_confirmed(arguments: argparse.Namespace) -> bool:
    """Ask on the terminal, unless --yes is given; without a terminal the answer is no."""
    if arguments.yes:
        return True
    if arguments.quiet or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    try:
        answer = input("Write these changes? [y/N] ")
    except EOFError:
        return False
    return answer.strip().lower() in {"y", "yes"}
