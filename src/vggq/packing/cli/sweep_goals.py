"""The ways to pack that a sweep is given: lists and ranges of goals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...errors import OptionError
from ..goals import MAX_BITS, MAX_SQNR
from ..sizes import parse_size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_WIDTHS: Final = f"widths from 1 to {MAX_BITS} such as 1-{MAX_BITS} or 2,4,6"
_FIDELITIES: Final = f"decibels above 0 and up to {MAX_SQNR} such as 20,30,40 or 10-45:5"
# What a step of a range adds up to may be this far off its end.
_SLACK: Final = 1e-9


def goals_of_sweep(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A table of options for each way: of those that were given, or else of every width.

    Raises:
        OptionError: a list of goals is none, or an aim is given without a size.

    """
    ways: list[dict[str, Any]] = []
    if arguments.bits is not None:
        ways += [{"bits": bits} for bits in parse_widths(arguments.bits)]
    if arguments.sqnr is not None:
        ways += [{"sqnr": sqnr} for sqnr in parse_fidelities(arguments.sqnr)]
    if arguments.size is not None:
        ways += [{"size": size} for size in parse_sizes(arguments.size)]
    ways = ways or [{"bits": bits} for bits in range(1, MAX_BITS + 1)]
    dependent = {"dependent": not arguments.independent}
    return [way | dependent | _of_a_size(way, arguments) for way in ways]


def _of_a_size(way: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """What only a size takes; where there is no size it is left in, to be refused."""
    if "size" in way or arguments.size is None:
        return {"aim": arguments.aim, "weights": arguments.weights}
    return {}


def parse_widths(text: str) -> list[int]:
    """The widths that ``"8"``, ``"1-8"`` or ``"2,4,6-8"`` names, ascending, each once.

    Raises:
        OptionError: it is no such list, or a width is not from 1 to 8.

    """
    try:
        ends = [[int(end) for end in part.split("-")] for part in text.split(",")]
        # As far as what is out of range shows.
        widths = {
            width for part in ends for width in range(part[0], min(part[-1], MAX_BITS + 1) + 1)
        }
    except ValueError:
        ends, widths = [], set()
    sound = all(len(part) <= 2 and part[0] <= part[-1] for part in ends)
    if not widths or not sound or not 1 <= min(widths) <= max(widths) <= MAX_BITS:
        raise OptionError([("bits", f"expected {_WIDTHS}, found {text!r}")])
    return sorted(widths)


def parse_fidelities(text: str) -> list[float]:
    """The decibels that ``"40"``, ``"20,30.5"`` or ``"10-45:5"`` names, ascending, each once.

    Raises:
        OptionError: it is no such list, or a fidelity is out of range.

    """
    try:
        found = {sqnr for part in text.split(",") for sqnr in _range(part)}
    except ValueError:
        found = set()
    if not found or not 0 < min(found) <= max(found) <= MAX_SQNR:
        raise OptionError([("sqnr", f"expected {_FIDELITIES}, found {text!r}")])
    return sorted(found)


def _range(part: str) -> Iterator[float]:
    """A lone number, or first-last:step."""
    ends, colon, step_text = part.partition(":")
    if not colon:
        yield float(part)
        return
    first, last = map(float, ends.split("-"))
    step = float(step_text)
    # Also false of what is no number.
    if not (step >= 0.1 and 0 < first <= last <= MAX_SQNR):
        raise ValueError(part)
    for number in range(int((last - first) / step + _SLACK) + 1):
        yield round(first + number * step, 6)


def parse_sizes(text: str) -> list[int]:
    """The bytes that ``"10 MB"`` or ``"500 kB, 10 MB"`` names, ascending, each once.

    Raises:
        OptionError: one is no size.

    """
    try:
        return sorted({parse_size(part) for part in text.split(",")})
    except ValueError as error:
        raise OptionError([("size", str(error))]) from error
