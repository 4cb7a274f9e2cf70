"""The command ``vggq compare A B``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...errors import PackedFileError, VerificationError
from ..comparison import compare
from ..file_comparison import compare_files
from ..packer import SUFFIX
from .compare_output import comparison_as_json, print_files, print_tensors
from .console import add_command_parser, add_output_flags, print_json, show_progress
from .packed_argument import check_packed
from .packed_members import is_archive, is_packed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .console import Commands

_MAX_NAMES_IN_ERROR: Final = 3


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command_parser(
        commands,
        "compare",
        "compare a packed file with another one, or with a checkpoint",
        "vggq compare model.vggq weights/model.pth --tolerance 35",
    )
    parser.add_argument("a", metavar="A", help="a .vggq file")
    parser.add_argument(
        "b",
        metavar="B",
        help="the reference: a .vggq file, or a checkpoint, which is read with the options that A "
        "records",
    )
    parser.add_argument(
        "--tolerance",
        type=_parse_decibels,
        default=math.inf,
        metavar="DB",
        help="minimum SQNR in dB at which the weights of two tensors count as equal (by default "
        "every weight must be equal); integers and booleans must always be equal",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="list all tensors and files; by default those that count as equal are only counted "
        "(--json always has all)",
    )
    add_output_flags(parser)
    parser.set_defaults(run=_run)


def _parse_decibels(text: str) -> float:
    value = float(text)
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f"expected a number of dB, found {text!r}")
    return value


def _run(arguments: argparse.Namespace) -> None:
    _check_files(arguments.a, arguments.b)
    with show_progress("comparing") as advance:
        comparisons = compare(arguments.a, arguments.b, advance)
        files = compare_files(arguments.a, arguments.b)
    tolerance: float = arguments.tolerance
    differing = [c.name for c in comparisons if not c.within(tolerance)]
    differing_files = [file.path for file in files if not file.same]
    if arguments.json:
        sides = {"a": arguments.a, "b": arguments.b}
        print_json(sides | comparison_as_json(comparisons, files, tolerance))
    else:
        print_tensors(comparisons, tolerance, list_all=arguments.all)
        print_files(files, list_all=arguments.all)
    problems = [
        *_describe_difference(differing, len(comparisons), "tensors", _allowed(tolerance)),
        *_describe_difference(differing_files, len(files), "files", " outside their tensors"),
    ]
    if problems:
        raise VerificationError("; ".join(problems))


def _check_files(a: str, b: str) -> None:
    """Reject archives, and a checkpoint as the first file."""
    first, reference = Path(a), Path(b)
    is_other = first.is_file() and first.suffix != SUFFIX and not is_archive(first)
    if is_other and not is_packed(first) and (reference.suffix == SUFFIX or is_packed(reference)):
        raise PackedFileError(
            f"not a packed file, which must come first: `vggq compare {b} {a}`", path=first
        )
    check_packed(a)
    if is_archive(reference):
        check_packed(b)


def _allowed(tolerance: float) -> str:
    return "" if math.isinf(tolerance) else f", with a tolerance of {tolerance:g} dB"


def _describe_difference(names: list[str], total: int, kind: str, detail: str) -> Iterator[str]:
    if names:
        shown = ", ".join(map(repr, names[:_MAX_NAMES_IN_ERROR]))
        more = ", …" if len(names) > _MAX_NAMES_IN_ERROR else ""
        yield f"{len(names)} of {total} {kind} differ{detail}: {shown}{more}"
