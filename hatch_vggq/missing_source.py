"""Say what to do if the source of a model is not in the tree."""

from __future__ import annotations

import glob
from contextlib import suppress
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from .model_files import is_unpacked_sdist
from .model_paths import is_outside

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LISTED_MATCHES: Final = 3
_SIMILARITY: Final = 0.75


def advise_on_missing_source(
    root: Path, source: str, later_hooks: Sequence[str], alternative: str = ""
) -> str:
    """Return what to do about a source that does not exist.

    Args:
        root: the project's root.
        source: the path of the source, as in the configuration.
        later_hooks: the names of the build hooks that run after this one.
        alternative: how to build without the source, if that is possible.

    """
    if pattern := describe_pattern(root, source):
        return pattern
    if later_hooks:
        names = " or ".join(repr(name) for name in later_hooks)
        return (
            f"if the build hook {names} makes it, write its table below tool.hatch.build.hooks and "
            "before the one of vggq"
        )
    if is_unpacked_sdist(root):
        return "this sdist is incomplete; build it again, or build from a checkout"
    near = _find_similar(root, source)
    question = f"did you mean {near}? If not, " if near else ""
    advice = f"{question}get it with the project's download script or `git lfs pull`"
    return f"{advice}, or {alternative}" if alternative else advice


def describe_pattern(root: Path, source: str) -> str | None:
    """Return what to write instead of a pattern; None if the source is not a pattern."""
    if not glob.has_magic(source):
        return None
    matches = _find_matches(root, source)
    # The name of a file may contain brackets.
    if not matches and not {"*", "?"} & {*source}:
        return None
    examples = f", such as {', '.join(matches[:_LISTED_MATCHES])}" if matches else ""
    return f"patterns are not supported; write a table for each file{examples}"


def _find_matches(root: Path, pattern: str) -> list[str]:
    """Return the files of the project that match a pattern."""
    # An invalid pattern is a ValueError.
    with suppress(OSError, ValueError):
        if not is_outside(pattern):
            return sorted(path.relative_to(root).as_posix() for path in root.glob(pattern))
    return []


def _find_similar(root: Path, source: str) -> str | None:
    """Return the path of a file in the source's folder that has nearly the same name."""
    path = PurePosixPath(source)
    try:
        names = [entry.name for entry in (root / path).parent.iterdir()]
    except OSError:
        return None
    near = get_close_matches(path.name, names, n=1, cutoff=_SIMILARITY)
    return path.with_name(near[0]).as_posix() if near else None
