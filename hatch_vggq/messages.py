"""The error that fails a build, and its lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vggq.errors import OptionError, SourceError, TargetError

if TYPE_CHECKING:
    from pathlib import Path

    from vggq.errors import VggqError

    from .config import Model


class BuildError(Exception):
    """The build must fail.

    Attributes:
        lines: one line for each problem; it begins with the dotted key that the problem is about.

    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def format_error(root: Path, model: Model, error: VggqError) -> list[str]:
    """Return the lines for an error that was raised while a model was prepared.

    Paths below `root` are shown relative to it, as in the configuration.
    """
    if isinstance(error, OptionError):
        return format_option_error(model.key, error)
    return [f"{_key(model, error)}: {error.render(root)}"]


def format_option_error(key: str, error: OptionError) -> list[str]:
    """Return a line for each invalid option of the model with this key."""
    return [f"{key}.{option}: {problem}" for option, problem in error.problems]


def _key(model: Model, error: VggqError) -> str:
    if isinstance(error, SourceError):
        return f"{model.key}.source"
    return f"{model.key}.target" if isinstance(error, TargetError) else model.key
