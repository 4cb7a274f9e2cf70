"""Verify a finished artifact, which is a wheel or an sdist, before anyone can upload it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from vggq.packing import megabytes
from vggq.packing.sources import hash_file

from .artifact_members import iter_members
from .messages import BuildError
from .model_files import list_source_paths
from .size_limit import explain_excess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from .config import Config, Model

_WARNING_SHARE: Final = 0.9


def verify_artifact(
    root: Path,
    config: Config,
    artifact: Path,
    digests: Mapping[str, str],
    *,
    path_in_artifact: Callable[[str], str],
) -> None:
    """Verify a finished artifact, and delete it if it must not be published.

    hatchling has already moved the artifact to its final place.

    Args:
        root: the project's root.
        config: the hook's configuration.
        artifact: a wheel or an sdist.
        digests: the SHA-256 of each packed file that this build prepared, by target.
        path_in_artifact: function from a file's path in the project to its path in the artifact.

    Raises:
        BuildError: the artifact lacks a file, contains the raw weights, or is too large.

    """
    problems = [
        problem
        for model in config.models
        for problem in (
            _find_missing(root, model, artifact, digests, path_in_artifact)
            + _find_raw_weights(root, model, artifact)
        )
    ]
    problems = problems or _check_size(root, config, artifact, path_in_artifact)
    if problems:
        artifact.unlink()
        raise BuildError(problems)


def find_size_warning(config: Config, artifact: Path) -> str | None:
    """Return a warning if the size of an artifact is close to the limit."""
    size, limit = artifact.stat().st_size, config.size_limit
    if limit is None or size < _WARNING_SHARE * limit:
        return None
    return f"vggq: {artifact.name} is {megabytes(size)}, {100 * size // limit} % of size-limit"


def _expected_paths(root: Path, model: Model, artifact: Path) -> list[str]:
    """Return the files of a model that the artifact must contain, as paths in the project."""
    return list_source_paths(root, model) if _carries_source(model, artifact) else [model.target]


def _carries_source(model: Model, artifact: Path) -> bool:
    """Return whether the artifact is an sdist that must contain the model's source."""
    return model.sdist == "source" and artifact.suffix != ".whl"


def _find_missing(
    root: Path,
    model: Model,
    artifact: Path,
    digests: Mapping[str, str],
    path_in_artifact: Callable[[str], str],
) -> list[str]:
    """Return the problems of files that are missing from the artifact or differ there."""
    key = f"{model.key}.{'source' if _carries_source(model, artifact) else 'target'}"
    problems = []
    for path in _expected_paths(root, model, artifact):
        digest = _digest_of_member(artifact, path_in_artifact(path))
        if digest is None:
            problems.append(
                f"{key}: {path} is missing from {artifact.name}; the settings packages, include "
                "or exclude of the build target leave it out"
            )
        elif digest != (digests.get(path) or hash_file(root / path)):
            problems.append(
                f"{key}: {path} in {artifact.name} is not the file that this build prepared; "
                "another process has written it meanwhile, build again"
            )
    return problems


def _digest_of_member(artifact: Path, name: str) -> str | None:
    """Return the SHA-256 of a member of the artifact, or None if it has no such member."""
    digests = (
        hashlib.sha256(member.read()).hexdigest()
        for member in iter_members(artifact)
        if member.name == name
    )
    return next(digests, None)


def _find_raw_weights(root: Path, model: Model, artifact: Path) -> list[str]:
    if not (root / model.source).is_file() or _carries_source(model, artifact):
        return []
    return [
        f"{model.key}.source: the raw weights {path} are in {artifact.name} as {name}; exclude "
        "that file"
        for path in list_source_paths(root, model)
        for name in _find_copies(root / path, artifact)
    ]


def _find_copies(path: Path, artifact: Path) -> list[str]:
    """Return the names of the members with the same content as a file."""
    size = path.stat().st_size
    digests = {
        member.name: hashlib.sha256(member.read()).hexdigest()
        for member in iter_members(artifact)
        if member.size == size
    }
    # Reading a large source again takes time: only do it if a member has the same size.
    sha256 = hash_file(path) if digests else None
    return [name for name, digest in digests.items() if digest == sha256]


def _check_size(
    root: Path, config: Config, artifact: Path, path_in_artifact: Callable[[str], str]
) -> list[str]:
    limit = config.size_limit
    if limit is None or artifact.stat().st_size <= limit:
        return []
    targets = [root / m.target for m in config.models if not _carries_source(m, artifact)]
    expected = {
        path_in_artifact(path) for m in config.models for path in _expected_paths(root, m, artifact)
    }
    return list(explain_excess(artifact, limit, targets, expected))
