"""The files of a model that an artifact contains or leaves out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vggq.packing.sources import hash_file

from .model_files import list_source_paths

if TYPE_CHECKING:
    from pathlib import Path

    from .config import Model
    from .rollback import Rollback


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A model that is ready for the artifact.

    Attributes:
        message: the line to print.
        artifact_patterns: hatchling's patterns of the files to ship although Git ignores them.
        excluded_paths: the paths of the files not to ship.
        warnings: the warnings to print, one line each.
        sha256: the SHA-256 of the packed file; empty if the artifact does not contain it.
        rollback: the previous packed file, if this build has replaced it.

    """

    message: str
    artifact_patterns: list[str]
    excluded_paths: list[str]
    warnings: list[str] = field(default_factory=list)
    sha256: str = ""
    rollback: Rollback | None = None


def ship_source(root: Path, model: Model) -> PreparedModel:
    """Return a model whose source ships instead of the packed file.

    Raises:
        SourceError: the source is missing, or too damaged to find its shards.

    """
    return PreparedModel(
        message=f"vggq: {model.source}: shipped instead of the packed file (sdist = 'source')",
        artifact_patterns=[_exact_pattern(path) for path in list_source_paths(root, model)],
        excluded_paths=[model.target],
    )


def ship_packed_file(
    root: Path, model: Model, message: str, source_paths: list[str]
) -> PreparedModel:
    """Return a model whose packed file ships instead of its source."""
    return PreparedModel(
        message=f"vggq: {model.target}: {message}",
        artifact_patterns=[_exact_pattern(model.target)],
        excluded_paths=source_paths,
        sha256=hash_file(root / model.target),
    )


def _exact_pattern(path: str) -> str:
    """Return the pattern, in the syntax of .gitignore, that matches this path alone."""
    return "/" + re.sub(r"([\\\[\]*?!# ])", r"\\\1", path)
