"""The command ``vggq verify FILE [--against SOURCE]``."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from ... import _weights
from ...errors import VerificationError
from .. import verify, verify_against
from .console import add_json_flag, print_json, print_line, show_progress

if TYPE_CHECKING:
    import argparse

    from .console import Commands


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("verify", help="check every byte of a packed file")
    parser.add_argument("file", metavar="FILE", help="a .vggq file")
    parser.add_argument(
        "--against", metavar="SOURCE", help="the checkpoint it was packed from, to compare with"
    )
    add_json_flag(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    file, source = arguments.file, arguments.against
    tensors = _verify(file, source)
    if arguments.json:
        print_json({"file": file, "tensors": tensors, "against": source})
    else:
        compared = f", and have the recorded error against {source}" if source else ""
        print_line(f"{file}: {tensors} tensors are valid{compared}")


def _verify(file: str, source: str | None) -> int:
    """Verify a packed file and return the number of its tensors."""
    with _weights.open(file) as weights, show_progress("verifying") as advance:
        done = count(1)

        def count_tensor(_name: str) -> None:
            advance(next(done), len(weights))

        try:
            if source is None:
                verify(weights, count_tensor)
            else:
                verify_against(weights, source, count_tensor)
        except VerificationError as error:
            error.locate(path=Path(file))
            raise
        return len(weights)
