"""Changes of text files: shown as a unified diff, and written together."""

from __future__ import annotations

import difflib
import os
import stat
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import TargetError
from ..atomic_file import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Change:
    """The new content of a text file.

    Attributes:
        path: the file.
        old: the content that the change was made for; None if the file did not exist.
        new: the content to write.

    """

    path: Path
    old: str | None
    new: str


def render_diff(changes: Iterable[Change], root: Path) -> list[str]:
    """Return the lines of a unified diff, with paths relative to a folder."""
    return [line for change in changes for line in _diff_lines(change, root)]


def _diff_lines(change: Change, root: Path) -> Iterator[str]:
    name = os.path.relpath(change.path, root).replace(os.sep, "/")
    # Only "\n" ends a line: `splitlines` would also split at characters such as form feeds.
    old = _split_lines(change.old or "")
    new = _split_lines(change.new)
    before = "/dev/null" if change.old is None else name
    for line in difflib.unified_diff(old, new, before, name):
        yield line.rstrip("\r\n")
        if line[0] in "+- " and not line.endswith("\n"):
            yield "\\ No newline at end of file"


def _split_lines(text: str) -> list[str]:
    lines = text.split("\n")
    return [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def write_changes(changes: Sequence[Change]) -> None:
    """Write all files, each of them completely or not at all.

    No file is replaced before all of them are on the disk. The files keep their permissions, and
    links to them stay links.

    Raises:
        TargetError: a file has changed since the changes were made, or cannot be written.

    """
    with ExitStack() as stack:
        # The last file to be opened is the first one to be replaced.
        for change in reversed(changes):
            path = change.path.resolve()
            file = stack.enter_context(atomic_write(path))
            if path.exists() and hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            file.write(change.new.encode())
        for change in changes:
            _check_unchanged(change)


def _check_unchanged(change: Change) -> None:
    try:
        found = change.path.read_bytes().decode()
    except FileNotFoundError:
        found = None
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"cannot be read: {error}", path=change.path) from error
    if found != change.old:
        raise TargetError("changed meanwhile; run `vggq init` again", path=change.path)
