"""The files of a model in the project: its source, its packed file and temporary files."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from vggq.errors import SourceError, VggqError

if TYPE_CHECKING:
    from .config import Model


def has_source(root: Path, model: Model) -> bool:
    """Return whether the source of a model is in this tree.

    Raises:
        SourceError: the system does not allow to find out.

    """
    source = root / model.source
    try:
        source.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}", path=source) from error
    return True


def list_source_paths(root: Path, model: Model) -> list[str]:
    """Return the paths of a model's source, with its shards, relative to the project's root.

    Raises:
        SourceError: the source is missing, or too damaged to find its shards.

    """
    from vggq.packing.sources import list_source_files  # noqa: PLC0415

    folder = PurePath(model.source).parent
    source = root / model.source
    names = [os.path.relpath(file, source.parent) for file in list_source_files(source)]
    return [(folder / name).as_posix() for name in names]


def get_scratch_folder(target: Path) -> Path:
    """Return the folder for temporary files; a simultaneous build must not ship these."""
    return target.parent / "__pycache__"


def is_file(path: Path) -> bool:
    """Return whether a path is a file; False if the system does not allow to find out."""
    # In some of these cases, `Path.is_file` raises.
    return os.path.isfile(path)  # noqa: PTH113


def remove_packed_file(root: Path, model: Model) -> None:
    """Remove the packed file of a model, and temporary files of interrupted builds.

    Without its source, a packed file cannot be written again and is kept.
    """
    import vggq  # noqa: PLC0415
    from vggq.packing import remove_leftovers  # noqa: PLC0415

    target = root / model.target
    remove_leftovers(target, get_scratch_folder(target))
    if not is_file(root / model.source) or not is_file(target):
        return
    try:
        vggq.open(target).close()
    except VggqError:
        # The file is not a packed file, so this hook has not written it.
        return
    target.unlink()
