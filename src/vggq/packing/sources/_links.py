"""Symbolic links in the folder of a model: which of them may be followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_SNAPSHOTS: Final = "snapshots"
_BLOBS: Final = "blobs"


def is_below(path: Path, folder: Path) -> bool:
    """Return whether a path is in a folder, or in the blobs that belong to it.

    Args:
        path: the path, with links resolved.
        folder: the folder, with links resolved.

    """
    return path.is_relative_to(folder) or path.parent in find_blobs(folder)


def find_blobs(folder: Path) -> list[Path]:
    """Return the folder of blobs to which the links in a folder lead, or none.

    The blobs of a cache of Hugging Face belong to each of its snapshots:
    ``models--name/snapshots/REVISION/model.safetensors`` is a link to ``models--name/blobs/SHA``.
    https://huggingface.co/docs/huggingface_hub/guides/manage-cache
    """
    caches = [parent.parent for parent in folder.parents if parent.name == _SNAPSHOTS]
    return [cache / _BLOBS for cache in caches if (cache / _BLOBS).is_dir()]
