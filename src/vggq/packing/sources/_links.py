"""Symbolic links in the folder of a model: which of them may be followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_SNAPSHOTS: Final = "snapshots"
_BLOBS: Final = "blobs"


def is_below(path: Path, folder: Path) -> bool:
    """Return whether a path is in a folder once all links are followed.

    The blobs of a cache of Hugging Face belong to each of its snapshots:
    ``models--name/snapshots/REVISION/model.safetensors`` is a link to ``models--name/blobs/SHA``.
    https://huggingface.co/docs/huggingface_hub/guides/manage-cache

    Args:
        path: the path, with links resolved.
        folder: the folder, with links resolved.

    """
    if path.is_relative_to(folder):
        return True
    caches = [parent.parent for parent in folder.parents if parent.name == _SNAPSHOTS]
    return any(path.parent == cache / _BLOBS for cache in caches)
