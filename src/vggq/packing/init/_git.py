"""The lines of .gitignore that keep a packed file and its source out of git."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Final

from ...errors import TargetError
from ._changes import Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_NAME: Final = ".gitignore"
_SPECIAL: Final = re.compile(r"([\\*?\[\]])|^([!#])|( )$")
_PACKED_FILES: Final = "*.vggq"


def plan_gitignore(root: Path, targets: Iterable[Path], sources: Iterable[Path]) -> Change | None:
    """Return the change of .gitignore that ignores files, or None if nothing is missing.

    Files that git tracks already stay tracked, because somebody has decided to keep them.

    Args:
        root: the project's root.
        targets: the packed files.
        sources: the files and folders of the sources.

    Raises:
        TargetError: the file cannot be read.

    """
    path = _find_file(root)
    old = _read(path)
    present = set((old or "").splitlines())
    lines: dict[str, None] = {}
    if any(_is_open(root, target, [_PACKED_FILES], present) for target in targets):
        lines[_PACKED_FILES] = None
    for source in sources:
        patterns = _patterns(source, path.parent)
        if patterns and _is_open(root, source, patterns, present):
            lines[patterns[0]] = None
    if not lines:
        return None
    return Change(path, old, _append(old or "", list(lines)))


def _find_file(root: Path) -> Path:
    """Return the file that git and hatchling read for a project: the nearest one in its repository.

    A new file beside the project would hide that one from hatchling, which reads only one.
    """
    repository = next((f for f in (root, *root.parents) if (f / ".git").exists()), root)
    for folder in (root, *root.parents):
        if (folder / _NAME).is_file():
            return folder / _NAME
        if folder == repository:
            break
    return root / _NAME


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"cannot be read: {error}", path=path) from error


def _is_open(root: Path, path: Path, patterns: Sequence[str], present: set[str]) -> bool:
    """Return whether git would add a file, which no line ignores and which is not tracked yet."""
    if not present.isdisjoint(patterns):
        return False
    return not _git(root, "check-ignore", "-q", path) and not _git(
        root, "ls-files", "--error-unmatch", path
    )


def _git(root: Path, *arguments: str | Path) -> bool:
    """Return whether a command of git succeeds; it fails without git and outside a repository."""
    command = ["git", "-C", str(root), *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    except OSError:
        return False
    return done.returncode == 0


def _patterns(path: Path, folder: Path) -> list[str]:
    """Return patterns that match a path below a folder, the most exact one first."""
    if not path.is_relative_to(folder) or path == folder:
        return []
    parts = [_SPECIAL.sub(r"\\\g<0>", part) for part in path.relative_to(folder).parts]
    end = "/" if path.is_dir() else ""
    above = ["/".join(parts[:length]) for length in range(1, len(parts))]
    return [
        f"/{'/'.join(parts)}{end}",
        *(f"{start}{name}{slash}" for name in above for start in ("/", "") for slash in ("/", "")),
    ]


def _append(old: str, lines: list[str]) -> str:
    newline = "\r\n" if "\r\n" in old else os.linesep if not old else "\n"
    end = "" if not old or old.endswith("\n") else newline
    return old + end + "".join(f"{line}{newline}" for line in lines)
