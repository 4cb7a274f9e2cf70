"""Find the files of a model in an unpacked sdist, where they may have other paths.

If the settings `sources` or `packages` apply to the sdist, hatchling moves files in it, and the
paths of the configuration no longer lead to them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .config import Model
    from .placement import Placement


def find_moved_model(root: Path, model: Model, placement: Placement) -> Model:
    """Return a model with the paths that its files have in an unpacked sdist.

    Args:
        root: the root of the unpacked sdist.
        model: the model as configured.
        placement: the places of files in the sdist.

    """
    target = _find_moved_path(root, model.target, placement)
    source = model.source
    if model.sdist == "source":
        source = _find_moved_path(root, source, placement)
    return replace(model, source=source, target=target)


def _find_moved_path(root: Path, path: str, placement: Placement) -> str:
    # The file itself may have to be written first, but its folder exists.
    if (root / path).parent.is_dir():
        return path
    names = placement.find_names(path)
    return next((name for name in names if (root / name).parent.is_dir()), path)
