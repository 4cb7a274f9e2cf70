"""The source of a model: where it is, and what its packed file gives."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...errors import SourceError
from ..sources import FORMATS, identify_format, list_source_files

if TYPE_CHECKING:
    from collections.abc import Iterator

_SKIPPED: Final = frozenset({"__pycache__", "build", "dist", "node_modules", "tests", "venv"})
_MAX_SHOWN: Final = 5
# The settings of a model, in every folder of Hugging Face.
_SETTINGS: Final = "config.json"


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A source, as the lines of Python need it.

    Attributes:
        path: the file or the folder.
        format: the name of its format.
        restore: what a packed file holds: "model" or "tensors".
        default_restore: what it holds by default.
        files: its files, the main one first.
        name: its file name without the suffix of the format.

    """

    path: Path
    format: str
    restore: str
    default_restore: str
    files: tuple[Path, ...]
    name: str


def read_source(path: Path, restore: str | None = None) -> ModelSource:
    """Return what a source is.

    Args:
        path: the file or the folder.
        restore: the option `restore`.

    Raises:
        SourceError: it is missing or unreadable, or its format is not supported.

    """
    fmt = identify_format(path)
    default = fmt.choose_restore(path)
    files = tuple(list_source_files(path))
    return ModelSource(path, fmt.name, restore or default, default, files, _strip_suffix(path.name))


def find_source(root: Path) -> Path:
    """Return the only checkpoint in a project: a file, or a folder of Hugging Face.

    Raises:
        SourceError: no checkpoint was found, or several.

    """
    found: dict[Path, list[Path]] = {}
    for path in _list_candidates(root):
        with suppress(SourceError):
            found[path] = list_source_files(path)
    parts = {file for path, files in found.items() for file in files if file != path}
    mains = _leave_out_inner({_as_folder(path, root) for path in found if path not in parts})
    if len(mains) == 1:
        return mains[0]
    shown = [path.relative_to(root).as_posix() for path in mains[:_MAX_SHOWN]]
    more = f" and {len(mains) - _MAX_SHOWN} more" if len(mains) > _MAX_SHOWN else ""
    reason = f"{len(mains)} checkpoints: {', '.join(shown)}{more}" if mains else "no checkpoint"
    raise SourceError(f"found {reason}; name one: `vggq init SOURCE`", path=root)


def find_model_folder(path: Path) -> Path | None:
    """Return the folder of Hugging Face that a file of weights is in; None if it is in none."""
    folder = path.parent
    return folder if path.is_file() and (folder / _SETTINGS).is_file() else None


def _as_folder(path: Path, root: Path) -> Path:
    folder = find_model_folder(path)
    return path if folder is None or folder == root else folder


def _leave_out_inner(paths: set[Path]) -> list[Path]:
    """Return paths in order, without those that are in others."""
    return sorted(path for path in paths if paths.isdisjoint(path.parents))


def _list_candidates(root: Path) -> Iterator[Path]:
    """Yield the files that have the suffix of a checkpoint, without hidden and built folders."""
    suffixes = tuple({suffix for fmt in FORMATS for suffix in fmt.suffixes})
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name not in _SKIPPED
        )
        yield from (Path(folder, name) for name in sorted(files) if name.lower().endswith(suffixes))


def _strip_suffix(name: str) -> str:
    """Return a name without the suffixes of formats: "model" for model.safetensors.index.json."""
    suffixes = [suffix for fmt in FORMATS for suffix in fmt.suffixes]
    while found := [s for s in suffixes if name.lower().endswith(s) and len(name) > len(s)]:
        name = name[: -max(map(len, found))]
    return name
