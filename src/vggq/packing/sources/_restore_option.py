"""Whether a packed file restores the files of its source, or only their tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ..._member_paths import find_collision, find_path_problem
from ..._model_checks import MAX_MEMBERS
from ...errors import OptionError, SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ._source import Format, ReadOptions, Source

# A restored file has all tensors of its source, under its names and in its axes.
_FOR_TENSORS_ONLY: Final = ("layout", "key", "drop", "rename", "dtypes")


def find_restore_conflicts(
    restore: str | None, options: Mapping[str, Any], reason: str = ""
) -> list[tuple[str, str]]:
    """Return pairs of an option and the reason why it does not apply if files are restored.

    Args:
        restore: the value of the option `restore`.
        options: the values of other options by name.
        reason: why `restore` has this value, if it was not given.

    """
    if restore != "model":
        return []
    problem = f"does not apply with restore = 'model'{reason}: the whole file is restored"
    return [(name, problem) for name in _FOR_TENSORS_ONLY if options[name]]


def resolve_restore(path: Path, fmt: Format, read_options: ReadOptions) -> ReadOptions:
    """Return the options with the value of `restore` for this file.

    Raises:
        OptionError: options do not apply because the files are restored.
        SourceError: the file is too damaged.

    """
    restore, reason = read_options.restore, ""
    if restore is None:
        restore = fmt.choose_restore(path)
        reason = ", the default for this file (restore = 'tensors' packs its tensors only)"
    options = {name: getattr(read_options, name) for name in _FOR_TENSORS_ONLY}
    if problems := find_restore_conflicts(restore, options, reason):
        raise OptionError(problems)
    return replace(read_options, restore=restore)


def check_members(source: Source) -> None:
    """Check that the files of a model can be restored on every system.

    Raises:
        SourceError: a file is not in the folder of the main file, which is the first, or its path
            is not possible everywhere; or there are too many files.

    """
    main, files = source.root or source.files[0], source.files
    if len(files) > MAX_MEMBERS:
        reason = f"the model has {len(files)} files, and a packed file at most {MAX_MEMBERS}"
        raise SourceError(reason, path=main)
    paths = [*map(source.member_path, files), *source.folders]
    located = [*files, *(source.base / folder for folder in source.folders)]
    for path, file in zip(paths, located, strict=True):
        if path.startswith("../"):
            raise SourceError(f"the file is outside the folder of {main.name!r}", path=file)
        if problem := find_path_problem(path):
            reason = f"cannot be restored: the path {path!r} {problem}"
            raise SourceError(f"{reason}{_advise(source)}", path=file)
    if collision := find_collision(paths):
        # Two forms of Unicode would look the same.
        first, second = map(ascii, collision)
        raise SourceError(
            f"cannot be restored: on some systems {first} and {second} are one file"
            f"{_advise(source)}",
            path=main,
        )


def _advise(source: Source) -> str:
    return "; rename it" if source.root is None else "; rename it, or leave it out with `exclude`"
