"""The command ``vggq compare A B``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...errors import PackedFileError, VerificationError
from ..comparison import compare, overall_sqnr
from ..file_comparison import compare_files
from ..metrics import format_sqnr
from ..packer import SUFFIX
from ..sizes import megabytes
from .console import (
    add_json_flag,
    escape_cell,
    format_shape,
    make_table,
    print_json,
    print_line,
    print_table,
    show_progress,
    sqnr_as_json,
)
from .packed_argument import check_packed
from .packed_members import is_archive, is_packed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from .. import Comparison, FileComparison
    from .console import Commands

    Shape = tuple[int, ...]

_MAX_NAMES_IN_ERROR: Final = 3


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "compare", help="compare a packed file with another one, or with a checkpoint"
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
    add_json_flag(parser)
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
        print_json(_as_json(arguments, comparisons, files))
    else:
        sqnr = format_sqnr(overall_sqnr(comparisons), " dB")
        print_table(_as_table(comparisons, tolerance))
        print_line(f"{len(comparisons)} tensors, {len(differing)} differ; SQNR {sqnr}")
        if files:
            print_table(_as_file_table(files))
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


def _as_table(comparisons: list[Comparison], tolerance: float) -> Table:
    table = make_table(
        ("tensor", "shape in A", "shape in B", "result"), ("SQNR dB", "largest error")
    )
    for c in comparisons:
        table.add_row(
            escape_cell(c.name),
            _format_optional_shape(c.shape),
            _format_optional_shape(c.reference_shape),
            "equal" if c.same else "close" if c.within(tolerance) else "differs",
            format_sqnr(c.sqnr) if math.isfinite(c.noise) else "",
            f"{c.largest:.3g}" if math.isfinite(c.largest) else "",
        )
    return table


def _as_file_table(files: list[FileComparison]) -> Table:
    table = make_table(("file",), ("size in A", "size in B", "outside tensors"))
    for file in files:
        table.add_row(
            escape_cell(file.path),
            _format_optional_size(file.size),
            _format_optional_size(file.reference_size),
            "equal" if file.same else "differs",
        )
    return table


def _format_optional_size(size: int | None) -> str:
    return "missing" if size is None else megabytes(size)


def _format_optional_shape(shape: Shape | None) -> str:
    return "missing" if shape is None else format_shape(shape)


def _as_json(
    arguments: argparse.Namespace, comparisons: list[Comparison], files: list[FileComparison]
) -> dict[str, Any]:
    return {
        "a": arguments.a,
        "b": arguments.b,
        "tolerance": sqnr_as_json(arguments.tolerance),
        "within": all(c.within(arguments.tolerance) for c in comparisons)
        and all(file.same for file in files),
        "sqnr": sqnr_as_json(overall_sqnr(comparisons)),
        "tensors": [
            {
                "name": c.name,
                "shape_a": c.shape,
                "shape_b": c.reference_shape,
                "same": c.same,
                "within": c.within(arguments.tolerance),
                "sqnr": sqnr_as_json(c.sqnr),
                "largest_error": c.largest if math.isfinite(c.largest) else None,
            }
            for c in comparisons
        ],
        "files": [
            {
                "path": file.path,
                "bytes_a": file.size,
                "bytes_b": file.reference_size,
                "same_outside_tensors": file.same,
            }
            for file in files
        ],
    }
