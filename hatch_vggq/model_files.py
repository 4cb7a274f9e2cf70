"""The files of a model in the project: its source, its packed file and temporary files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING

import vggq
from vggq.errors import SourceError, VggqError
from vggq.packing import remove_leftovers
from vggq.packing.sources import hash_file, list_source_files

if TYPE_CHECKING:
    from pathlib import Path

    from .config import Model


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The size of a file in bytes, and the SHA-256 of its content."""

    size: int
    sha256: str


def fingerprint(path: Path) -> Fingerprint:
    """Return the size and the SHA-256 of a file."""
    return Fingerprint(path.stat().st_size, hash_file(path))


def is_unpacked_sdist(root: Path) -> bool:
    """Return whether a project is an unpacked sdist, which carries no source of its models."""
    return is_file(root / "PKG-INFO")


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
    """Return the paths of the files of a model's source, relative to the project's root.

    Raises:
        SourceError: the source is missing, or too damaged to find its shards.

    """
    folder = PurePath(model.source).parent
    source = root / model.source
    files = list_source_files(source, model.options.read)
    names = [os.path.relpath(file, source.parent) for file in files]
    return [(folder / name).as_posix() for name in names]


def list_weight_paths(root: Path, model: Model) -> list[str]:
    """Return the paths of the source's files that contain tensors of the packed file.

    Other files of a model, such as its settings, may ship beside the packed file.

    Raises:
        SourceError: as `list_source_paths`.

    """
    paths = list_source_paths(root, model)
    try:
        with vggq.open(root / model.target) as weights:
            members = weights.members
    except VggqError:
        # Another process has changed the packed file, which the check of the archive reports.
        return paths
    if not members:
        return paths
    source = PurePosixPath(model.source)
    folder = source if (root / model.source).is_dir() else source.parent
    with_tensors = {
        (folder / member.path).as_posix()
        for member in members
        if any(piece.tensor is not None for piece in member.pieces)
    }
    return [path for path in paths if path in with_tensors]


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
    target = root / model.target
    remove_leftovers(target, get_scratch_folder(target))
    if not has_source(root, model) or not is_file(target):
        return
    try:
        vggq.open(target).close()
    except VggqError:
        # The file is not a packed file, so this hook has not written it.
        return
    target.unlink()
