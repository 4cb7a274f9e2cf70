"""The ``vggq`` command. Needs the `cli` extra."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, NoReturn

from ...errors import MissingDependencyError, VggqError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line and exit code 1, as every other error of the command."""

    def error(self, message: str) -> NoReturn:
        self.exit(1, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, or 1 after a line on stderr.

    Raises:
        SystemExit: for --help (0) and for arguments that cannot be parsed (1).

    """
    try:
        arguments = _parser().parse_args(argv)
        arguments.run(arguments)
    except VggqError as error:
        print(f"vggq: error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("vggq: interrupted", file=sys.stderr)  # noqa: T201
        return 1
    except BrokenPipeError:
        # Whoever read the output has had enough; the interpreter must not flush into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    try:
        import rich  # noqa: F401, PLC0415
    except ImportError as error:
        raise MissingDependencyError(
            "the command line is not installed: pip install 'hatch-vggq[cli]'"
        ) from error
    from . import compare, inspect, pack, report, sweep, unpack, vendor, verify  # noqa: PLC0415

    parser = _Parser(prog="vggq", description="Pack model weights for a wheel, and look at them.")
    parser.add_argument("--version", action="version", version=f"vggq {version('hatch-vggq')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (pack, inspect, verify, compare, sweep, report, unpack, vendor):
        command.add_to(commands)
    return parser
