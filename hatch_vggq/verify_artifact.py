"""What is checked of a finished archive, before anyone can upload it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from vggq.packing.sizes import megabytes
from vggq.packing.sources import file_digest

from .archive import members
from .build import source_paths
from .config import ConfigurationError
from .size_limit import excess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from .config import Config, Model

_WARN_FROM: Final = 0.9


def check(
    root: Path,
    config: Config,
    artifact: Path,
    digests: Mapping[str, str],
    *,
    shipped_as: Callable[[str], str],
) -> None:
    """Remove an archive that must not be published: hatchling has put it in its place already.

    Args:
        root: the project's.
        config: the hook's.
        artifact: a wheel or an sdist.
        digests: of each target the SHA-256 that was prepared.
        shipped_as: a file's path in the project to its path in the archive.

    Raises:
        ConfigurationError: the archive lacks a file, has the raw weights, or is too large.

    """
    errors = [
        error
        for model in config.models
        for error in (
            _left_out(root, model, artifact, digests, shipped_as) + _leaked(root, model, artifact)
        )
    ]
    errors = errors or _too_large(root, config, artifact, shipped_as)
    if errors:
        artifact.unlink()
        raise ConfigurationError(errors)


def find_warning(config: Config, artifact: Path) -> str | None:
    """A line where an archive comes near the limit."""
    size, limit = artifact.stat().st_size, config.size_limit
    if limit is None or size < _WARN_FROM * limit:
        return None
    return f"vggq: {artifact.name} is {megabytes(size)}, {100 * size // limit} % of size-limit"


def _ships(root: Path, model: Model, artifact: Path) -> list[str]:
    """What of a model belongs into an archive: its source's files or its target."""
    return source_paths(root, model) if _carries_source(model, artifact) else [model.target]


def _carries_source(model: Model, artifact: Path) -> bool:
    return model.sdist == "source" and artifact.suffix != ".whl"


def _left_out(
    root: Path,
    model: Model,
    artifact: Path,
    digests: Mapping[str, str],
    shipped_as: Callable[[str], str],
) -> list[str]:
    key = "source" if _carries_source(model, artifact) else "target"
    errors = []
    for wanted in _ships(root, model, artifact):
        expected = digests.get(wanted) or file_digest(root / wanted)
        found = _digest_in(artifact, shipped_as(wanted))
        if found is None:
            errors.append(
                f"{model.key}.{key}: {wanted} is not in {artifact.name}: the build target's "
                "packages, include or exclude leave it out"
            )
        elif found != expected:
            errors.append(
                f"{model.key}.{key}: {wanted} in {artifact.name} is not what this build prepared: "
                "it was written meanwhile, build again"
            )
    return errors


def _digest_in(artifact: Path, name: str) -> str | None:
    """The SHA-256 of an archive's member; None where it has none of that name."""
    found = (hashlib.sha256(m.read()).hexdigest() for m in members(artifact) if m.name == name)
    return next(found, None)


def _leaked(root: Path, model: Model, artifact: Path) -> list[str]:
    if not (root / model.source).is_file() or _carries_source(model, artifact):
        return []
    return [
        f"{model.key}.source: the raw weights {path} are in {artifact.name} as {name}: exclude them"
        for path in source_paths(root, model)
        for name in _copies(root / path, artifact)
    ]


def _copies(path: Path, artifact: Path) -> list[str]:
    """The members of an archive that are the same file."""
    size = path.stat().st_size
    alike = {
        member.name: hashlib.sha256(member.read()).hexdigest()
        for member in members(artifact)
        if member.size == size
    }
    # The file is read once more only where something has its size.
    sha256 = file_digest(path) if alike else None
    return [name for name, found in alike.items() if found == sha256]


def _too_large(
    root: Path, config: Config, artifact: Path, shipped_as: Callable[[str], str]
) -> list[str]:
    limit = config.size_limit
    if limit is None or artifact.stat().st_size <= limit:
        return []
    targets = [root / m.target for m in config.models if not _carries_source(m, artifact)]
    shipped = {shipped_as(path) for m in config.models for path in _ships(root, m, artifact)}
    return list(excess(artifact, limit, targets, shipped))
