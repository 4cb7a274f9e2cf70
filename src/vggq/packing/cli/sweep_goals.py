"""The goals of a sweep: lists and ranges of widths, SQNRs and sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...errors import OptionError
from ..goals import MAX_BITS, MAX_SQNR
from ..sizes import parse_size
from .options import ALL_OPTIONS, add_options, given_arguments, options_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from ..options import Options

_LISTS: Final = ("bits", "sqnr", "size")
_ONE_MODEL: Final = ("license", "description", "url")
_WIDTHS: Final = f"widths from 1 to {MAX_BITS} such as 1-{MAX_BITS} or 2,4,6"
_SQNRS: Final = f"decibels above 0 and up to {MAX_SQNR} such as 20,30,40 or 10-45:5"
# The end of a range may differ by this from a sum of its steps.
_RANGE_TOLERANCE: Final = 1e-9
_MIN_STEP: Final = 0.1


def add_sweep_options(parser: argparse.ArgumentParser) -> None:
    """Add lists of goals, and the options that apply to all of them, to a command."""
    parser.add_argument(
        "--bits",
        metavar="WIDTHS",
        help=f"such as 2,4,6 (default 1-{MAX_BITS} if no goal is given)",
    )
    parser.add_argument(
        "--sqnr", metavar="DBS", help="minimum SQNRs of every tensor, such as 20,30,40 or 10-45:5"
    )
    parser.add_argument(
        "--size", metavar="SIZES", help="maximum sizes of the packed file, such as '10 MB,15 MB'"
    )
    add_options(parser, [name for name in ALL_OPTIONS if name not in (*_LISTS, *_ONE_MODEL)])


def sweep_options(arguments: argparse.Namespace) -> list[Options]:
    """Return the options of each variant: for the goals that were given, or for every width.

    Raises:
        OptionError: a list of goals is invalid, or an option is invalid or needs a size.

    """
    goals: list[dict[str, Any]] = []
    if arguments.bits is not None:
        goals += [{"bits": bits} for bits in parse_widths(arguments.bits)]
    if arguments.sqnr is not None:
        goals += [{"sqnr": sqnr} for sqnr in parse_sqnrs(arguments.sqnr)]
    if arguments.size is not None:
        goals += [{"size": size} for size in parse_sizes(arguments.size)]
    goals = goals or [{"bits": bits} for bits in range(1, MAX_BITS + 1)]
    return [_variant(arguments, goal) for goal in goals]


def _variant(arguments: argparse.Namespace, goal: dict[str, Any]) -> Options:
    without = dict.fromkeys(_LISTS)
    # Options that need a size do not apply to the other goals of a sweep that has sizes, too.
    if "size" not in goal and arguments.size is not None:
        given = given_arguments(arguments)
        without |= {"importance": None} | (
            {"objective": "relative"} if "objective" in given else {}
        )
    return options_of(arguments, **without | goal)


def parse_widths(text: str) -> list[int]:
    """Return the widths in ``"8"``, ``"1-8"`` or ``"2,4,6-8"``, ascending, each once.

    Raises:
        OptionError: the text is not such a list, or a width is not from 1 to 8.

    """
    try:
        ends = [[int(end) for end in part.split("-")] for part in text.split(",")]
        # Ranges are cut just above the limit, which still shows that they exceed it.
        widths = {
            width for part in ends for width in range(part[0], min(part[-1], MAX_BITS + 1) + 1)
        }
    except ValueError:
        ends, widths = [], set()
    valid = all(len(part) <= 2 and part[0] <= part[-1] for part in ends)
    if not widths or not valid or not 1 <= min(widths) <= max(widths) <= MAX_BITS:
        raise OptionError([("bits", f"expected {_WIDTHS}, found {text!r}")])
    return sorted(widths)


def parse_sqnrs(text: str) -> list[float]:
    """Return the decibels in ``"40"``, ``"20,30.5"`` or ``"10-45:5"``, ascending, each once.

    Raises:
        OptionError: the text is not such a list, or a value is out of range.

    """
    try:
        found = {sqnr for part in text.split(",") for sqnr in _parse_range(part)}
    except ValueError:
        found = set()
    if not found or not 0 < min(found) <= max(found) <= MAX_SQNR:
        raise OptionError([("sqnr", f"expected {_SQNRS}, found {text!r}")])
    return sorted(found)


def _parse_range(part: str) -> Iterator[float]:
    """Yield a single number, or the numbers of a range first-last:step."""
    ends, colon, step_text = part.partition(":")
    if not colon:
        yield float(part)
        return
    first, last = map(float, ends.split("-"))
    step = float(step_text)
    # NaN fails this test, too.
    if not (step >= _MIN_STEP and 0 < first <= last <= MAX_SQNR):
        raise ValueError(part)
    for number in range(int((last - first) / step + _RANGE_TOLERANCE) + 1):
        yield round(first + number * step, 6)


def parse_sizes(text: str) -> list[int]:
    """Return the bytes in ``"10 MB"`` or ``"500 kB, 10 MB"``, ascending, each once.

    Raises:
        OptionError: an item is not a size.

    """
    try:
        return sorted({parse_size(part) for part in text.split(",")})
    except ValueError as error:
        raise OptionError([("size", str(error))]) from error
