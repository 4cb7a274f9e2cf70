"""``vggq compare A B``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import PackedFileError, VerificationError
from ..comparison import compare, overall
from ..packer import SUFFIX
from .console import (
    add_json_flag,
    cell,
    decibels,
    dimensions,
    json_decibels,
    make_table,
    print_json,
    print_line,
    print_table,
    progress,
)

if TYPE_CHECKING:
    from rich.table import Table

    from .. import Comparison
    from .console import Commands

    Shape = tuple[int, ...]


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "compare", help="compare a packed file with another one, or with a checkpoint"
    )
    parser.add_argument("a", metavar="A", help="a .vggq file")
    parser.add_argument(
        "b",
        metavar="B",
        help="what it is held against: a .vggq file, or a checkpoint, read as A was packed from it",
    )
    parser.add_argument(
        "--tolerance",
        type=_decibels,
        default=math.inf,
        metavar="DB",
        help="the least SQNR in dB of a tensor of A against B's that is no difference; "
        "without it, weights have to be equal, as integers and booleans always have to be",
    )
    add_json_flag(parser)
    parser.set_defaults(run=_run)


def _decibels(text: str) -> float:
    value = float(text)
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f"expected dB, found {text!r}")
    return value


def _run(arguments: argparse.Namespace) -> None:
    first, second = Path(arguments.a), Path(arguments.b)
    if second.suffix == SUFFIX != first.suffix:
        raise PackedFileError(
            f"{first} does not end in {SUFFIX}: the packed file comes first, as in "
            f"`vggq compare {second} {first}`"
        )
    with progress("comparing") as advance:
        found = compare(arguments.a, arguments.b, advance)
    differing = [c for c in found if not c.within(arguments.tolerance)]
    if arguments.json:
        print_json(_as_json(arguments, found))
    else:
        print_table(_as_table(found, arguments.tolerance))
        print_line(f"{len(found)} tensors, {len(differing)} differ; SQNR {_decibels_of(found)}")
    if differing:
        names = ", ".join(repr(c.name) for c in differing[:3])
        more = ", …" if len(differing) > 3 else ""
        raise VerificationError(
            f"{len(differing)} of {len(found)} tensors differ{_by(arguments.tolerance)}: "
            f"{names}{more}"
        )


def _by(tolerance: float) -> str:
    return "" if math.isinf(tolerance) else f" by more than {tolerance:g} dB allow"


def _decibels_of(found: list[Comparison]) -> str:
    sqnr = overall(found)
    return decibels(sqnr) if math.isinf(sqnr) else f"{sqnr:.2f} dB"


def _as_table(found: list[Comparison], tolerance: float) -> Table:
    table = make_table(("tensor", "shape in A", "in B", ""), ("SQNR dB", "largest error"))
    for c in found:
        table.add_row(
            cell(c.name),
            _shape(c.shape),
            _shape(c.reference_shape),
            "same" if c.same else "near" if c.within(tolerance) else "differs",
            decibels(c.sqnr) if math.isfinite(c.noise) else "",
            f"{c.largest:.3g}" if math.isfinite(c.largest) else "",
        )
    return table


def _shape(shape: Shape | None) -> str:
    return "missing" if shape is None else dimensions(shape)


def _as_json(arguments: argparse.Namespace, found: list[Comparison]) -> dict[str, Any]:
    return {
        "a": arguments.a,
        "b": arguments.b,
        "tolerance": json_decibels(arguments.tolerance),
        "within": all(c.within(arguments.tolerance) for c in found),
        "sqnr": json_decibels(overall(found)),
        "tensors": [
            {
                "name": c.name,
                "shape_a": c.shape,
                "shape_b": c.reference_shape,
                "same": c.same,
                "within": c.within(arguments.tolerance),
                "sqnr": json_decibels(c.sqnr),
                "largest_error": c.largest if math.isfinite(c.largest) else None,
            }
            for c in found
        ],
    }
