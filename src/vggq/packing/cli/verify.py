"""The command ``vggq verify FILE [--against SOURCE]``."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from ... import _weights
from ...errors import DataError, HeaderError, ManifestError, VerificationError
from .. import verify, verify_against
from ..summary import printable
from .console import add_command_parser, add_output_flags, print_json, print_line, show_progress
from .packed_argument import check_packed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from ..._model_info import Member
    from .console import Commands


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command_parser(
        commands,
        "verify",
        "check every byte of a packed file",
        "vggq verify model.vggq --against weights/model.pth",
    )
    parser.add_argument("file", metavar="FILE", help="a .vggq file")
    parser.add_argument(
        "--against", metavar="SOURCE", help="the checkpoint it was packed from, to compare with"
    )
    add_output_flags(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    file, source = arguments.file, arguments.against
    try:
        tensors, members = _verify(file, source)
    except (HeaderError, ManifestError, DataError) as error:
        # Damage is an answer, not a failure of the command.
        raise VerificationError(error.reason, path=error.path, tensor=error.tensor) from error
    if arguments.json:
        files = [{"path": member.path, "sha256": member.sha256} for member in members]
        print_json({"file": file, "tensors": tensors, "members": files, "against": source})
        return
    compared = f", and match {source} within the recorded error" if source else ""
    print_line(f"{file}: {tensors} tensors are valid{compared}")
    if members:
        _print_members(file, members, is_compared=bool(source))


def _print_members(file: str, members: Sequence[Member], *, is_compared: bool) -> None:
    """Print the SHA-256 of each restored file, in the format of sha256sum."""
    plural = "file has its" if len(members) == 1 else "files have their"
    pronoun = "equals" if len(members) == 1 else "equal"
    compared = (
        f", and {pronoun} the source outside quantized tensors and the checksums over them"
        if is_compared
        else ""
    )
    print_line(f"{file}: {len(members)} restored {plural} recorded SHA-256{compared}")
    for member in members:
        print_line(f"{member.sha256}  {printable(member.path)}")


def _verify(file: str, source: str | None) -> tuple[int, tuple[Member, ...]]:
    """Verify a packed file, and return the number of its tensors and its restored files."""
    check_packed(file)
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
        return len(weights), weights.members
