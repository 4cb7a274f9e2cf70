"""The command ``vggq sweep SOURCE``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..goals import Bits, Size, Sqnr
from ..metrics import format_sqnr
from ..report import check_page, report_sweep
from ..report.sweep_page import score_names
from ..sizes import megabytes
from ..summary import goal_label, restored_size
from ..sweeps import evaluate_original, import_evaluation, sweep
from .console import (
    add_command_parser,
    add_json_flag,
    escape_cell,
    make_table,
    print_json,
    print_table,
    show_progress,
    sqnr_as_json,
    user_output,
)
from .evaluation_options import search_current_folder
from .options import add_source
from .sweep_each import add_each, reject_settings, run_each
from .sweep_goals import add_sweep_options, sweep_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.table import Table

    from .. import Variant
    from ..goals import Goal
    from ..sweeps import Evaluate, Scores
    from .console import Commands


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command_parser(
        commands,
        "sweep",
        "pack with several widths, SQNRs or sizes, and compare the results",
        "vggq sweep weights/model.pth --bits 2-8 --eval evaluate:accuracy",
    )
    add_source(parser)
    add_sweep_options(parser)
    parser.add_argument(
        "--eval",
        metavar="MODULE:FUNCTION",
        help="a function that scores a state dict (a dict of numpy arrays), or the path of a model "
        "if the source is packed as one, with a number or a dict of numbers; it is called with the "
        "source and with each restored result",
    )
    add_each(parser)
    parser.add_argument(
        "-o", "--out", type=Path, metavar="OUT", help="also write an HTML page to this file"
    )
    add_json_flag(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    if arguments.each:
        run_each(arguments)
        return
    reject_settings(arguments)
    if arguments.out is not None:
        check_page(arguments.out)
    settings = sweep_options(arguments)
    with user_output():
        evaluate = None if arguments.eval is None else _import_evaluation(arguments.eval)
        scores = evaluate_original(evaluate, arguments.source, settings[0]) if evaluate else None
    with show_progress("sweeping") as advance, user_output():
        variants = list(sweep(arguments.source, settings, evaluate=evaluate, progress=advance))
    if arguments.out is not None:
        report_sweep(arguments.source, variants, arguments.out, scores)
    if arguments.json:
        original = [] if scores is None else [_original_as_json(variants[0], scores)]
        print_json(original + [_as_json(v) for v in variants])
    else:
        print_table(_as_table(variants, scores))


def _import_evaluation(name: str) -> Evaluate:
    search_current_folder()
    return import_evaluation(name)


def _as_table(variants: Sequence[Variant], original: Scores | None) -> Table:
    names = score_names(variants, original)
    headings = ("size", "ratio", "SQNR dB", "worst dB", "pack s", "restore s")
    table = make_table(("setting",), (*headings, *map(escape_cell, names)))
    if original is not None:
        size = megabytes(restored_size(variants[0].manifest))
        scores = _format_scores(original, names)
        table.add_row("unquantized", size, "1.00", "exact", "exact", "", "", *scores)
    for v in variants:
        table.add_row(
            goal_label(v.options.goal),
            megabytes(v.size),
            f"{v.ratio:.2f}",
            format_sqnr(v.manifest.sqnr),
            format_sqnr(v.manifest.worst.sqnr) if v.manifest.worst else "exact",
            f"{v.pack_seconds:.1f}",
            f"{v.restore_seconds:.3f}",
            *_format_scores(v.scores, names),
        )
    return table


def _format_scores(scores: Scores, names: list[str]) -> list[str]:
    return [f"{scores[name]:.5g}" if name in scores else "" for name in names]


def _original_as_json(variant: Variant, scores: Scores) -> dict[str, Any]:
    size = restored_size(variant.manifest)
    unknown = dict.fromkeys(("sqnr", "worst", "pack_seconds", "restore_seconds"))
    scored = {"scores": _scores_as_json(scores)}
    return {"bits": 32, "bytes": size, "ratio": 1.0} | unknown | scored


def _as_json(variant: Variant) -> dict[str, Any]:
    worst = variant.manifest.worst
    table = _goal_as_json(variant.options.goal) | {
        "bytes": variant.size,
        "ratio": round(variant.ratio, 4),
        "sqnr": sqnr_as_json(variant.manifest.sqnr),
        "worst": sqnr_as_json(worst.sqnr) if worst else None,
        "pack_seconds": round(variant.pack_seconds, 3),
        "restore_seconds": round(variant.restore_seconds, 4),
    }
    return table | ({"scores": _scores_as_json(variant.scores)} if variant.scores else {})


def _goal_as_json(goal: Goal) -> dict[str, Any]:
    """Return the goal under a key that differs from the key of the result."""
    match goal:
        case Bits(bits):
            return {"bits": bits}
        case Sqnr(sqnr):
            return {"sqnr_target": sqnr}
        case Size(size):
            return {"size_target": size}


def _scores_as_json(scores: Scores) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}
