"""The ``vggq`` command. Needs the `cli` extra."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, NoReturn

from ...errors import VggqError
from ..optional import require

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line, with exit code 1, like all errors of commands."""

    def error(self, message: str) -> NoReturn:
        self.exit(1, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; by default those of the process.

    Returns:
        The exit code: 0, or 1 after an error in one line on stderr.

    Raises:
        SystemExit: for --help and --version (0), and for invalid arguments (1).

    """
    try:
        arguments = _make_parser().parse_args(argv)
        arguments.run(arguments)
    except VggqError as error:
        print(f"vggq: error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("vggq: interrupted", file=sys.stderr)  # noqa: T201
        return 1
    except BrokenPipeError:
        # The reader of the output closed the pipe. The interpreter flushes stdout at exit, which
        # would raise the error again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _make_parser() -> argparse.ArgumentParser:
    require("rich", "cli")
    from . import compare, inspect, pack, report, sweep, unpack, vendor, verify  # noqa: PLC0415

    description = "Pack model weights for Python packages, and inspect packed files."
    parser = _Parser(prog="vggq", description=description)
    parser.add_argument("--version", action="version", version=f"vggq {version('hatch-vggq')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (pack, inspect, verify, compare, sweep, report, unpack, vendor):
        command.add_command(commands)
    return parser
