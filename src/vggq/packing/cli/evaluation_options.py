"""Options about the evaluation, which `tune` and `sweep --each` share."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Final

from ..tuning import TuneSettings

SETTINGS: Final = ("metric", "lower_is_better", "seed", "cache")
_MAX_SEED: Final = 2**32 - 1
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}


def add_evaluation_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options about the evaluation that `SETTINGS` names."""
    parser.add_argument("--metric", metavar="NAME", help="the metric, if there are several")
    parser.add_argument(
        "--lower-is-better", action="store_true", help="smaller numbers of the metric are better"
    )
    parser.add_argument(
        "--seed", type=parse_seed, default=0, metavar="N",
        help="seed of the random numbers of the evaluation (default 0)",
    )  # fmt: skip
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="folder for results of evaluations"
    )


def parse_seed(text: str) -> int:
    """Return a seed that the generators of Python, numpy and torch all accept."""
    if not text.isdecimal() or int(text) > _MAX_SEED:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to {_MAX_SEED}, found {text!r}")
    return int(text)


def parse_time(text: str) -> float:
    """Return the seconds in a text such as 90s, 5m or 1h."""
    unit = _UNITS.get(text[-1:])
    try:
        seconds = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"expected a time such as 90s, 5m or 1h, found {text!r}")
    return seconds


def search_current_folder() -> None:
    """Let the current folder contain the module of an evaluation."""
    # A console script has its own folder on the path, but not the current one.
    sys.path.insert(0, "")


def settings_of(arguments: argparse.Namespace) -> TuneSettings:
    """Return the settings that were given on the command line."""
    search_current_folder()
    return TuneSettings(
        evaluation=arguments.eval,
        metric=arguments.metric,
        lower_is_better=arguments.lower_is_better,
        trials=getattr(arguments, "trials", 0),
        time_limit=getattr(arguments, "time_limit", None),
        seed=arguments.seed,
        allow_unused=getattr(arguments, "allow_unused", False),
        cache=arguments.cache,
    )
