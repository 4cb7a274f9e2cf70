"""Undo what a build has written, unless it succeeds."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from vggq.errors import VggqError

if TYPE_CHECKING:
    from .rollback import Rollback

# No file has this name.
_MARK: Final = "\0vggq"


class Transaction:
    """The files that a build has written until it is known to have succeeded.

    Args:
        reserved: hatchling's paths that must not ship. hatchling empties this set when it has
            built an archive or has failed to; a mark in it therefore tells whether it has begun.

    """

    def __init__(self, reserved: set[str]) -> None:
        self._reserved = reserved
        self._rollbacks: list[Rollback] = []
        self._resources = ExitStack()

    def begin(self) -> None:
        """Begin the build of an artifact."""
        self._reserved.add(_MARK)

    @cached_property
    def temporary_folder(self) -> Path:
        """A folder outside the project, because the project may be read-only."""
        folder = TemporaryDirectory(prefix="vggq-", ignore_cleanup_errors=True)
        return Path(self._resources.enter_context(folder))

    def add(self, rollback: Rollback) -> None:
        """Undo the writing of a packed file if the build fails."""
        self._resources.callback(rollback.release)
        self._rollbacks.append(rollback)

    def commit(self) -> None:
        """Keep all files."""
        self._rollbacks.clear()
        self._resources.close()

    def undo(self) -> list[str]:
        """Restore the packed files of before the build, and return a line for each failure."""
        problems = []
        for rollback in self._rollbacks:
            try:
                rollback.restore()
            except (OSError, VggqError) as error:
                problems.append(f"vggq: the previous packed file is lost: {error}")
        self.commit()
        return problems

    def abandon(self) -> None:
        """End a build of which nothing was heard after the hook had prepared it.

        If hatchling or another hook has failed, the files are undone. hatchling may also have been
        asked to run the hooks alone; then they are kept.
        """
        has_begun = _MARK not in self._reserved
        has_crashed = getattr(sys, "last_value", None) is not None
        if self._rollbacks and (has_begun or has_crashed):
            self.undo()
        self.commit()
