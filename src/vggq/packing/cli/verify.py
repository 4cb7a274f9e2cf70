"""``vggq verify FILE [--against SOURCE]``."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from ... import _weights
from ...errors import VerificationError
from .. import verify, verify_against
from .console import add_json_flag, print_json, print_line, progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from ..._weights import Weights
    from .console import Commands


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("verify", help="check every byte of a packed file")
    parser.add_argument("file", metavar="FILE", help="a .vggq file")
    parser.add_argument(
        "--against", metavar="SOURCE", help="the checkpoint it was packed from, to compare with"
    )
    add_json_flag(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    with _weights.open(arguments.file) as weights, progress("verifying") as advance:
        done = count(1)
        step = lambda _: advance(next(done), len(weights))  # noqa: E731
        if arguments.against is None:
            verify(weights, step)
        else:
            _verify_against(weights, arguments.against, step)
        tensors = len(weights)
    if arguments.json:
        print_json({"file": arguments.file, "tensors": tensors, "against": arguments.against})
    else:
        source = f", and as near to {arguments.against} as it says" if arguments.against else ""
        print_line(f"{arguments.file}: {tensors} tensors, all sound{source}")


def _verify_against(weights: Weights, source: str, step: Callable[[str], None]) -> None:
    try:
        verify_against(weights, source, step)
    except VerificationError as error:
        raise VerificationError(f"{weights.name} is not what {source} gives: {error}") from error
