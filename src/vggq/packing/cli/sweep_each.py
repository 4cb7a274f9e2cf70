"""`sweep --each`: the effect of each tensor on the evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ...errors import OptionError
from ..options import Options
from ..tuning import TuneGoal, measure_sensitivity
from .console import print_json, print_remark, print_table, show_progress, user_output
from .evaluation_options import SETTINGS, add_evaluation_settings, settings_of
from .options import given_arguments
from .tune_output import remarks_of, sensitivity_as_json, sensitivity_table

if TYPE_CHECKING:
    import argparse

_OPTIONS: Final = (
    "dependent", "effort", "keep", "layout", "key", "drop", "rename", "dtypes", "restore",
    "include", "exclude",
)  # fmt: skip


def add_each(parser: argparse.ArgumentParser) -> None:
    """Add the option --each, and those that apply only with it."""
    parser.add_argument(
        "--each",
        action="store_true",
        help="with --eval: quantize one tensor at a time, and show the effect of each",
    )
    add_evaluation_settings(parser)


def reject_settings(arguments: argparse.Namespace) -> None:
    """Raise OptionError for options that apply only with --each."""
    given = [name for name in SETTINGS if getattr(arguments, name)]
    if given:
        raise OptionError([(name.replace("_", "-"), "only valid with --each") for name in given])


def run_each(arguments: argparse.Namespace) -> None:
    """Show the effect of each tensor alone."""
    if arguments.eval is None:
        raise OptionError([("each", "only valid with --eval")])
    options = _options_of(arguments)
    # The goal decides only at what noise the tensors are measured.
    goal = TuneGoal("within", 0.0)
    with show_progress("measuring") as advance, user_output():
        found = measure_sensitivity(
            arguments.source, settings_of(arguments), goal, options, progress=advance
        )
    for remark in remarks_of(found):
        print_remark(remark)
    if arguments.json:
        print_json({"original": found.original, "tensors": sensitivity_as_json(found.groups)})
    else:
        print_table(sensitivity_table(found.groups))


def _options_of(arguments: argparse.Namespace) -> Options:
    given = {name: value for name, value in given_arguments(arguments).items() if value is not None}
    other = [name for name in given if name not in _OPTIONS]
    if arguments.out is not None:
        other.append("out")
    if other:
        raise OptionError([(name, "does not apply with --each") for name in other])
    return Options(**given)
