"""The ``vggq`` command. Needs the `cli` extra."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, NoReturn

from ...errors import VerificationError, VggqError
from ..compression import zstd_version
from ..optional import require

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_NEGATIVE: Final = 1
_ERROR: Final = 2
# As shells report a process that such a signal has ended: 128 and its number.
_INTERRUPTED: Final = 130
_CLOSED_PIPE: Final = 141


class _Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line, like all errors of commands.

    The texts of its help keep their line breaks.
    """

    def __init__(self, **settings: object) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(**{"formatter_class": formatter, **settings})  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        self.exit(_ERROR, f"{self.prog}: error: {message}; see {self.prog} --help\n")


class _VersionAction(argparse.Action):
    """Print the versions of vggq and of the zstd that packs."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        sys.stdout.write(f"vggq {version('hatch-vggq')}, zstd {zstd_version()}\n")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; by default those of the process.

    Returns:
        The exit code: 0; 1 if the answer is negative (`compare` finds a difference, `verify` finds
        damage, `init` has changes that it does not write); 2 after an error in one line on stderr;
        130 after an interrupt; 141 if the reader of the output has gone.

    Raises:
        SystemExit: for --help and --version (0), and for invalid arguments (2).

    """
    try:
        return _run(argv)
    except VerificationError as error:
        return _fail(f"error: {error}", _NEGATIVE)
    except VggqError as error:
        return _fail(f"error: {error}", _ERROR)
    except KeyboardInterrupt as interrupt:
        # A command that can go on where it was says so in its argument.
        return _fail("; ".join(["interrupted", *map(str, interrupt.args)]), _INTERRUPTED)
    except BrokenPipeError:
        # The interpreter flushes stdout at exit, which would raise the error again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CLOSED_PIPE


def _run(argv: Sequence[str] | None) -> int:
    parser = _make_parser()
    from .console import quiet_output  # noqa: PLC0415

    arguments = parser.parse_args(argv)
    with quiet_output(is_quiet=getattr(arguments, "quiet", False)):
        code: int | None = arguments.run(arguments)
    return code or 0


def _fail(message: str, code: int) -> int:
    print(f"vggq: {message}", file=sys.stderr)  # noqa: T201
    return code


def _make_parser() -> argparse.ArgumentParser:
    require("rich", "cli")
    from . import (  # noqa: PLC0415
        compare,
        completion,
        init,
        inspect,
        pack,
        report,
        sweep,
        tune,
        unpack,
        vendor,
        verify,
    )

    description = "Pack model weights for Python packages, and inspect packed files."
    epilog = "example:\n  vggq init weights/model.pth"
    parser = _Parser(prog="vggq", description=description, epilog=epilog)
    help_text = "show the versions of vggq and zstd, and exit"
    parser.add_argument("--version", action=_VersionAction, nargs=0, help=help_text)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (
        init,
        pack,
        inspect,
        verify,
        compare,
        sweep,
        tune,
        report,
        unpack,
        vendor,
        completion,
    ):
        command.add_command(commands)
    # The command `completion` needs it.
    parser.set_defaults(parser=parser)
    return parser
