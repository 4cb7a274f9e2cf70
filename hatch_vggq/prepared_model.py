"""The files of a model that an artifact contains or leaves out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .model_files import fingerprint, list_source_paths

if TYPE_CHECKING:
    from pathlib import Path

    from .config import Model
    from .model_files import Fingerprint
    from .rollback import Rollback


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A model that is ready for the artifact.

    Attributes:
        message: the line to print.
        shipped_paths: the paths of the files to ship although Git ignores them.
        excluded_paths: the paths of the files not to ship.
        warnings: the warnings to print, one line each.
        packed: the size and SHA-256 of the packed file; None if the artifact does not contain it.
        rollback: the previous packed file, if this build has replaced it.
        advice: a remark that is printed once, even if it is about several models.

    """

    message: str
    shipped_paths: list[str]
    excluded_paths: list[str]
    warnings: list[str] = field(default_factory=list)
    packed: Fingerprint | None = None
    rollback: Rollback | None = None
    advice: str | None = None


def ship_source(root: Path, model: Model) -> PreparedModel:
    """Return a model whose source ships instead of the packed file.

    Raises:
        SourceError: the source is missing, or too damaged to find its shards.

    """
    return PreparedModel(
        message=f"vggq: {model.source}: shipped instead of the packed file (sdist = 'source')",
        shipped_paths=list_source_paths(root, model),
        excluded_paths=[model.target],
    )


def ship_packed_file(
    root: Path, model: Model, message: str, source_paths: list[str]
) -> PreparedModel:
    """Return a model whose packed file ships instead of its source."""
    return PreparedModel(
        message=f"vggq: {model.target}: {message}",
        shipped_paths=[model.target],
        excluded_paths=source_paths,
        packed=fingerprint(root / model.target),
    )
