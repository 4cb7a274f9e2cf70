"""All files of a source that is a folder, which an artifact with the packed file leaves out."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Final

from vggq.errors import SourceError
from vggq.packing.sources import find_blobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .config import Model

_Identity = tuple[int, int]

# Of one folder. Links can make the number of paths grow exponentially.
_MAX_PATHS: Final = 100


def list_folder_paths(root: Path, model: Model) -> list[str]:
    """Return the paths of all files of a source that is a folder, also of those not packed.

    The blobs of a cache of Hugging Face belong to it, if the source is one of its snapshots.
    Paths are relative to the project's root. Files outside of it are left out.

    Raises:
        SourceError: links lead to the same folder by too many paths.

    """
    source = root / model.source
    if not _is_folder(source) or not source.is_relative_to(root):
        return []
    folders = [source, *find_blobs(source)]
    return [
        file.relative_to(root).as_posix()
        for folder in folders
        if folder.is_relative_to(root)
        for file in _list_files(folder)
    ]


def _list_files(top: Path) -> Iterator[Path]:
    """Yield all files below a folder, by each path that hatchling may use.

    hatchling follows links to folders, and visits each folder once, by the first path that it
    finds. That path depends on everything else that it visits.
    """
    pending: list[tuple[Path, frozenset[_Identity]]] = [(top, frozenset())]
    counts: Counter[_Identity] = Counter()
    while pending:
        folder, ancestors = pending.pop()
        try:
            identity, entries = _identify(folder), sorted(folder.iterdir())
        except OSError:
            # hatchling cannot read it either, and ships nothing of it.
            continue
        if identity in ancestors:
            continue
        counts[identity] += 1
        if counts[identity] > _MAX_PATHS:
            problem = f"links lead to this folder by more than {_MAX_PATHS} paths; remove some"
            raise SourceError(problem, path=folder)
        for path in entries:
            if _is_folder(path):
                pending.append((path, ancestors | {identity}))
            else:
                yield path


def _identify(folder: Path) -> _Identity:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_folder(path: Path) -> bool:
    # `Path.is_dir` raises an error for some paths.
    return os.path.isdir(path)  # noqa: PTH112
