"""``vggq sweep SOURCE``."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from ..goals import MAX_BITS
from ..options import Options
from ..report import check_page, report_sweep
from ..report.sweep_page import score_names
from ..sizes import megabytes
from ..summary import label
from ..sweeps import find_evaluation, original, sweep
from .console import (
    add_json_flag,
    decibels,
    json_decibels,
    make_table,
    print_json,
    print_table,
    progress,
)
from .options import add_grid_options, add_packing_options, add_source, packing_options
from .sweep_goals import goals_of_sweep

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.table import Table

    from .. import Variant
    from ..sweeps import Evaluate, Scores
    from .console import Commands


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "sweep", help="pack at several widths, fidelities or sizes: what each costs and loses"
    )
    add_source(parser)
    parser.add_argument(
        "--bits",
        metavar="WIDTHS",
        help=f"such as 2,4,6 (the default is 1-{MAX_BITS}, where nothing else is asked for)",
    )
    parser.add_argument(
        "--sqnr", metavar="DBS", help="decibels of every tensor, such as 20,30,40 or 10-45:5"
    )
    parser.add_argument(
        "--size", metavar="SIZES", help="of the packed file at most, such as '10 MB,15 MB'"
    )
    add_grid_options(parser)
    add_packing_options(parser)
    parser.add_argument(
        "--eval",
        metavar="MODULE:FUNCTION",
        help="called with the state dict of the source and of every way, a dict of numpy "
        "arrays; gives a number, or a dict of numbers",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="OUT",
        help="an .html file to write the figures to as well",
    )
    add_json_flag(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    if arguments.out is not None:
        check_page(arguments.out)
    given = packing_options(arguments)
    ways = [Options.from_table(goal | given) for goal in goals_of_sweep(arguments)]
    evaluate = _evaluation(arguments.eval)
    scores = evaluate(original(arguments.source, ways[0])) if evaluate else None
    with progress("sweeping") as advance:
        variants = list(sweep(arguments.source, ways, evaluate=evaluate, progress=advance))
    if arguments.out is not None:
        report_sweep(arguments.source, variants, arguments.out, scores)
    if arguments.json:
        print_json(_original_as_json(variants[0], scores) + [_as_json(v) for v in variants])
    else:
        print_table(_as_table(variants, scores))


def _evaluation(place: str | None) -> Evaluate | None:
    if place is None:
        return None
    # A console script's own folder is on the path, and not the one that it is run in.
    sys.path.insert(0, "")
    return find_evaluation(place)


def _as_table(variants: Sequence[Variant], original_scores: Scores | None) -> Table:
    names = score_names(variants, original_scores)
    figures = ("size", "ratio", "SQNR dB", "worst", "pack s", "restore s")
    table = make_table(("packed at",), (*figures, *map(escape, names)))
    if original_scores is not None:
        size = megabytes(variants[0].manifest.float32_size)
        blanks = ("",) * (len(figures) - 3)
        cells = _score_cells(original_scores, names)
        table.add_row("not at all", size, "1.00", "exact", *blanks, *cells)
    for v in variants:
        table.add_row(
            label(v.options),
            megabytes(v.size),
            f"{v.ratio:.2f}",
            decibels(v.manifest.sqnr),
            decibels(v.manifest.worst.sqnr) if v.manifest.worst else "exact",
            f"{v.pack_seconds:.1f}",
            f"{v.restore_seconds:.3f}",
            *_score_cells(v.scores, names),
        )
    return table


def _score_cells(scores: Scores, names: list[str]) -> list[str]:
    return [f"{scores[name]:.5g}" if name in scores else "" for name in names]


def _original_as_json(variant: Variant, scores: Scores | None) -> list[dict[str, Any]]:
    if scores is None:
        return []
    size = variant.manifest.float32_size
    figures = dict.fromkeys(("sqnr", "worst", "pack_seconds", "restore_seconds"))
    scored = {"scores": _json_scores(scores)}
    return [{"bits": 32, "bytes": size, "ratio": 1.0} | figures | scored]


def _as_json(variant: Variant) -> dict[str, Any]:
    worst = variant.manifest.worst
    table = _goal(variant.options) | {
        "bytes": variant.size,
        "ratio": round(variant.ratio, 4),
        "sqnr": json_decibels(variant.manifest.sqnr),
        "worst": json_decibels(worst.sqnr) if worst else None,
        "pack_seconds": round(variant.pack_seconds, 3),
        "restore_seconds": round(variant.restore_seconds, 4),
    }
    return table | ({"scores": _json_scores(variant.scores)} if variant.scores else {})


def _goal(options: Options) -> dict[str, Any]:
    """Named so that what was asked for is not taken for what came of it."""
    if options.sqnr is not None:
        return {"sqnr_target": options.sqnr}
    if options.size is not None:
        return {"size_target": options.size}
    return {"bits": options.bits}


def _json_scores(scores: Scores) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}
