"""The libraries that a build needs to pack models."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from vggq.errors import SourceError
from vggq.packing.sources import identify_format

from .model_files import has_source

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from .config import Model

_PACKING: Final = ("kmeans1d>=0.4", "zstandard>=0.22")


def list_requirements(root: Path, models: Iterable[Model]) -> list[str]:
    """Return the requirements of packing; a model whose source is not in this tree has none."""
    needed: set[str] = set()
    for model in models:
        # Problems with a source are reported later, when it is packed.
        with suppress(SourceError):
            if has_source(root, model):
                needed.update(_PACKING)
                needed.update(_reader_requirement(root / model.source))
    return sorted(needed)


def _reader_requirement(source: Path) -> list[str]:
    requirement = identify_format(source).requirement
    return [requirement] if requirement else []
