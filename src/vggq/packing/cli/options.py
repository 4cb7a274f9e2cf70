"""The options of packing as arguments of commands, derived from `OPTIONS`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ...errors import OptionError
from ..options import OPTIONS, RENAMED, Options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..options import Option

ALL_OPTIONS: Final = tuple(option.name for option in OPTIONS if option.argument)
_RENAMED_FLAGS: Final = {f"--{old}": f"--{new}" for old, new in RENAMED.items()} | {
    "--independent": "--no-dependent"
}


class _RenamedAction(argparse.Action):
    """Reject a former option and name its replacement."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> NoReturn:
        del namespace, values
        replacement = _RENAMED_FLAGS[option_string or self.option_strings[0]]
        parser.error(f"argument {option_string}: renamed to {replacement}")


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add the argument SOURCE to a command."""
    parser.add_argument(
        "source", metavar="SOURCE", help="a checkpoint: .pth, .safetensors, .h5, .npz, …"
    )


def add_options(parser: argparse.ArgumentParser, names: Iterable[str] = ALL_OPTIONS) -> None:
    """Add options of packing to a command.

    Args:
        parser: the parser of the command.
        names: the names of the options to add.

    """
    names = set(names)
    for option in OPTIONS:
        if option.name in names:
            _add_option(parser, option)
    for flag in _RENAMED_FLAGS:
        parser.add_argument(flag, nargs="?", action=_RenamedAction, help=argparse.SUPPRESS)


def _add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    settings: dict[str, dict[str, Any]] = {
        "integer": {"type": int, "metavar": option.metavar},
        "number": {"type": float, "metavar": option.metavar},
        "text": {"metavar": option.metavar},
        "texts": {"action": "append", "metavar": option.metavar},
        "choice": {"choices": option.choices},
        "flag": {"action": argparse.BooleanOptionalAction},
        "list": {"action": "append", "metavar": option.metavar},
        "pairs": {"action": "append", "metavar": option.metavar},
        "axis": {"type": _parse_axis, "metavar": option.metavar},
    }
    parser.add_argument(
        f"--{option.name}",
        default=argparse.SUPPRESS,
        help=option.help.replace("%", "%%"),
        **settings[option.argument or "text"],
    )


def _parse_axis(text: str) -> str | int:
    """Return the number of an axis, or other text unchanged."""
    try:
        return int(text)
    except ValueError:
        return text


def options_of(arguments: argparse.Namespace, **goal: Any) -> Options:
    """Return the options that were given on the command line.

    Args:
        arguments: the parsed arguments.
        **goal: options that take precedence over those on the command line.

    Raises:
        OptionError: options are invalid or in conflict; all of them at once.

    """
    return Options(**given_arguments(arguments) | goal)


def given_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options that were given, by name.

    Raises:
        OptionError: a pair has no equals sign.

    """
    given = {name: getattr(arguments, name) for name in ALL_OPTIONS if hasattr(arguments, name)}
    for option in OPTIONS:
        if option.argument == "texts" and len(given.get(option.name, ())) == 1:
            (given[option.name],) = given[option.name]
        if option.argument == "pairs" and option.name in given:
            given[option.name] = [_parse_pair(option, text) for text in given[option.name]]
    return given


def _parse_pair(option: Option, text: str) -> tuple[str, str]:
    pattern, equals, replacement = text.partition("=")
    if not equals:
        raise OptionError([(option.name, f"expected {option.metavar}, found {text!r}")])
    return pattern, replacement
