"""End a failed build with a message in place of a traceback, and leave no files behind."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final, Self

from vggq.errors import VggqError

from .messages import BuildError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from hatchling.bridge.app import Application

    from .transaction import Transaction

_ISSUES: Final = "https://github.com/hatch-vggq/hatch-vggq/issues"
_INTERRUPTED: Final = 130


class AbortOnError:
    """Context manager that undoes the build and ends the process if an exception is raised.

    Front ends show an exception with its traceback, so that the message would be hard to find.

    Args:
        app: prints the message and exits.
        root: the project's root.
        transaction: what the build has written; None if nothing.
        artifact: the archive to remove, once hatchling has built it.

    """

    def __init__(
        self,
        app: Application,
        root: Path,
        transaction: Transaction | None = None,
        artifact: Path | None = None,
    ) -> None:
        self._app = app
        self._root = root
        self._transaction = transaction
        self._artifact = artifact

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            return
        # Clean up before printing, which can fail as well.
        problems = [*self._remove_artifact(), *self._undo()]
        if isinstance(error, Exception | KeyboardInterrupt):
            self._app.display_debug("".join(traceback.format_exception(error)))
            lines = [describe_error(self._root, error), *problems]
            code = _INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
            self._app.abort("\n".join(lines), code=code)

    def _undo(self) -> list[str]:
        return self._transaction.undo() if self._transaction else []

    def _remove_artifact(self) -> list[str]:
        if self._artifact is None:
            return []
        try:
            self._artifact.unlink(missing_ok=True)
        except OSError as error:
            problem = (
                f"vggq: {self._artifact} cannot be removed: {error.strerror}; do not publish it"
            )
            return [problem]
        return []


def describe_error(root: Path, error: BaseException) -> str:
    """Return the message for an exception that fails a build."""
    match error:
        case BuildError():
            return str(error)
        case VggqError():
            return error.render(root)
        case KeyboardInterrupt():
            return "vggq: interrupted"
        case MemoryError():
            return "vggq: not enough memory"
        case OSError():
            place = f"{error.filename}: " if error.filename else ""
            return f"vggq: {place}{error.strerror or error}"
        case _:
            return (
                f"vggq: unexpected {type(error).__name__}: {error}; please report this to "
                f"{_ISSUES} with the traceback, which HATCH_VERBOSE=1 shows"
            )
