"""The command ``vggq tune SOURCE``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...errors import TargetError
from ..report import check_page, report_tuning
from ..sizes import megabytes
from ..tuning import (
    DEFAULT_TRIALS,
    FACTORS_NAME,
    REPORT_NAME,
    TABLE_NAME,
    factors_of,
    option_lines,
    parse_goal,
    tune,
    write_result,
)
from .console import (
    add_command_parser,
    add_output_flags,
    print_json,
    print_line,
    print_remark,
    print_table,
    show_progress,
    user_output,
)
from .evaluation_options import add_evaluation_settings, parse_time, settings_of
from .options import add_options, add_source, options_of
from .tune_output import remarks_of, sensitivity_table, tuned_as_json

if TYPE_CHECKING:
    from ..tuning import Tuned
    from .console import Commands

# The run chooses the goal and the scales itself.
_OPTIONS: Final = (
    "dependent", "effort", "keep", "layout", "key", "drop", "rename", "dtypes", "restore",
    "include", "exclude",
)  # fmt: skip
_MAX_ROWS: Final = 30


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command_parser(
        commands,
        "tune",
        "find the options with which the model's own answers are best",
        "vggq tune weights/model.pth --eval judge:outputs --at-least 0.999 -o tuned",
        "vggq tune weights/model.pth --eval judge:accuracy --within 0.5% -o tuned",
    )
    add_source(parser)
    parser.add_argument(
        "--eval", metavar="MODULE:FUNCTION", required=True,
        help="a function that gets a state dict (a dict of numpy arrays), or the path of a model "
        "if the source is packed as one, and returns a number, a dict of numbers, or the model's "
        "outputs as arrays",
    )  # fmt: skip
    _add_goals(parser)
    add_evaluation_settings(parser)
    parser.add_argument(
        "--trials", type=_parse_count, default=DEFAULT_TRIALS, metavar="N",
        help="changes to single tensors to try (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--time-limit", type=parse_time, metavar="TIME",
        help="end the search after this time, such as 90s, 5m or 1h; the effect of each tensor is "
        "measured in any case",
    )  # fmt: skip
    parser.add_argument(
        "--allow-unused",
        action="store_true",
        help="let tensors without any effect on the evaluation be ruined",
    )
    parser.add_argument(
        "-o", "--out", type=Path, metavar="FOLDER",
        help="write tuned.vggq, importance.json, tuned.toml and report.html to this folder",
    )  # fmt: skip
    add_options(parser, _OPTIONS)
    add_output_flags(parser)
    parser.set_defaults(run=_run)


def _add_goals(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size", metavar="SIZE", help="goal: the best metric in a file of at most this size"
    )
    parser.add_argument(
        "--at-least",
        type=_parse_number,
        metavar="X",
        help="goal: the smallest file with this metric",
    )
    parser.add_argument(
        "--at-most",
        type=_parse_number,
        metavar="X",
        help="the same, for a metric that should be low",
    )
    parser.add_argument(
        "--within",
        metavar="SHARE",
        help="goal: the smallest file whose metric is worse than the original's by at most this "
        "share, such as 0.5%%",
    )


def _parse_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        problem = f"expected a number such as 0.99, found {text!r}"
        raise argparse.ArgumentTypeError(problem) from None


def _parse_count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, found {text!r}")
    return int(text)


def _run(arguments: argparse.Namespace) -> None:
    folder: Path | None = arguments.out
    if folder is not None:
        _check_folder(folder)
    goal = parse_goal(arguments.size, arguments.at_least, arguments.at_most, arguments.within)
    options = options_of(arguments)
    settings = settings_of(arguments)
    try:
        with show_progress("tuning") as advance, user_output():
            tuned = tune(
                arguments.source, settings, goal, options, progress=advance, remark=print_remark
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("run the same command again to go on") from None
    if folder is not None:
        write_result(arguments.source, tuned, folder)
        report_tuning(arguments.source, tuned, folder / REPORT_NAME)
    _print(tuned, folder, as_json=arguments.json)


def _check_folder(folder: Path) -> None:
    """Reject a folder that cannot be written, before the work begins."""
    if folder.exists() and not folder.is_dir():
        raise TargetError("a file, not a folder", path=folder)
    check_page(folder / REPORT_NAME)


def _print(tuned: Tuned, folder: Path | None, *, as_json: bool) -> None:
    for remark in remarks_of(tuned.sensitivities, tuned.best.trial):
        print_remark(remark)
    objective, trial = tuned.objective, tuned.best.trial
    value = objective.value(trial.metrics)
    if doubt := tuned.goal.doubt_result(objective, value):
        print_remark(doubt)
    if as_json:
        print_json(tuned_as_json(tuned))
        return
    print_table(sensitivity_table(tuned.sensitivities.groups[:_MAX_ROWS]))
    print_line(
        f"{tuned.goal.describe(objective)}: {objective.metric} {value:.6g} "
        f"(original {objective.original:.6g}) in "
        f"{megabytes(trial.size)}, by {tuned.best.label}; {tuned.evaluations} evaluations, "
        f"{tuned.seconds:.0f} s"
    )
    if folder is None:
        for line in option_lines(tuned.options):
            print_line(line)
    print_line(_next_step(tuned, folder))


def _next_step(tuned: Tuned, folder: Path | None) -> str:
    has_factors = bool(factors_of(tuned.options))
    if folder is None:
        written = f"the packed file, {TABLE_NAME}"
        written += f", {FACTORS_NAME} and the report" if has_factors else " and the report"
        return f"pass -o FOLDER to write {written}"
    step = f"paste {folder / TABLE_NAME} into pyproject.toml"
    return f"{step}, and copy {folder / FACTORS_NAME} next to it" if has_factors else step
