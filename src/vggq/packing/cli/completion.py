"""The command ``vggq completion SHELL``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from ..optional import require
from .console import add_command_parser, print_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .console import Commands

_SHELLS: Final = ("bash", "zsh", "tcsh")
_NO_FILES: Final = frozenset({"COMMAND", "SHELL", "MODULE:FUNCTION"})
# Options whose values are paths; all positional arguments but those above are paths.
_PATH_OPTIONS: Final = frozenset({"--against", "--importance", "--out", "--project", "--target"})


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command_parser(
        commands,
        "completion",
        "print a script that completes commands and options in a shell",
        'eval "$(vggq completion bash)"        # in ~/.bashrc',
        'eval "$(vggq completion zsh)"         # in ~/.zshrc, after compinit',
        "vggq completion tcsh > ~/.vggq.tcsh   # and `source ~/.vggq.tcsh` in ~/.tcshrc",
    )
    parser.add_argument("shell", metavar="SHELL", choices=_SHELLS, help=", ".join(_SHELLS))
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    shtab = require("shtab", "cli")
    for action in _list_paths(arguments.parser):
        # shtab reads this attribute.
        action.complete = shtab.FILE  # type: ignore[attr-defined]
    print_line(shtab.complete(arguments.parser, shell=arguments.shell).rstrip())


def _list_paths(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of all commands that are paths."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                yield from _list_paths(command)
        elif _is_path(action):
            yield action


def _is_path(action: argparse.Action) -> bool:
    if action.option_strings:
        return not _PATH_OPTIONS.isdisjoint(action.option_strings)
    return action.metavar not in _NO_FILES
