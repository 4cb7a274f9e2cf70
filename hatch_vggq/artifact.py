"""Verify a finished artifact, which is a wheel or an sdist, before anyone can upload it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vggq.packing import megabytes

from .artifact_members import read_members
from .messages import BuildError
from .model_files import (
    fingerprint,
    has_source,
    is_file,
    list_source_paths,
    list_weight_paths,
)
from .size_limit import explain_excess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from .artifact_members import Member
    from .config import Config, Model
    from .model_files import Fingerprint

_WARNING_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True)
class Expectation:
    """The files that a finished artifact has to contain, and must not contain.

    Attributes:
        root: the project's root.
        config: the hook's configuration.
        target_name: hatchling's name of the artifact's kind: "wheel" or "sdist".
        prepared: the packed files that this build prepared, by target.
        find_names: function from a file's path in the project to its names in the artifact.
        explain_absence: function from a file's path in the project to the reason why hatchling
            leaves it out; None if hatchling does not.

    """

    root: Path
    config: Config
    target_name: str
    prepared: Mapping[str, Fingerprint]
    find_names: Callable[[str], list[str]]
    explain_absence: Callable[[str], str | None]

    def ships_source(self, model: Model) -> bool:
        """Return whether the artifact is an sdist that must contain the model's source."""
        return self.target_name == "sdist" and model.sdist == "source"

    def list_files(self, model: Model) -> dict[str, Fingerprint]:
        """Return the files of a model that the artifact must contain, by path in the project."""
        if not self.ships_source(model):
            return {model.target: self.prepared[model.target]}
        paths = list_source_paths(self.root, model)
        return {path: fingerprint(self.root / path) for path in paths}

    def list_raw_weights(self, model: Model) -> list[str]:
        """Return the files with the weights of a model that the artifact must not contain."""
        if self.ships_source(model) or not has_source(self.root, model):
            return []
        return list_weight_paths(self.root, model)


def verify_artifact(artifact: Path, expected: Expectation) -> None:
    """Verify a finished artifact, which hatchling has already moved to its final place.

    Raises:
        BuildError: the artifact cannot be read, lacks a file, contains the raw weights, or is
            too large.

    """
    models = expected.config.models
    files = {model.key: expected.list_files(model) for model in models}
    raw_weights = [(m, path) for m in models for path in expected.list_raw_weights(m)]
    sizes = {file.size for paths in files.values() for file in paths.values()}
    sizes |= {(expected.root / path).stat().st_size for _, path in raw_weights}
    members = read_members(artifact, sizes)
    problems = [
        *_find_missing(artifact, expected, files, members),
        *_find_raw_weights(artifact, expected, raw_weights, members),
    ]
    if problems := problems or _check_size(artifact, expected, files):
        raise BuildError(problems)


def find_size_warning(config: Config, artifact: Path) -> str | None:
    """Return a warning if the size of an artifact is close to the limit."""
    size, limit = artifact.stat().st_size, config.size_limit
    if limit is None or size < _WARNING_SHARE * limit:
        return None
    return f"vggq: {artifact.name} is {megabytes(size)}, {100 * size // limit} % of size-limit"


def _find_missing(
    artifact: Path,
    expected: Expectation,
    files: Mapping[str, Mapping[str, Fingerprint]],
    members: list[Member],
) -> Iterator[str]:
    """Yield the problems of files that are missing from the artifact or differ there."""
    by_name = {member.name: member for member in members}
    contents = {member.sha256 for member in members}
    for model in expected.config.models:
        key = f"{model.key}.{'source' if expected.ships_source(model) else 'target'}"
        for path, file in files[model.key].items():
            found = [by_name[name] for name in expected.find_names(path) if name in by_name]
            present = [member for member in found if not member.link]
            if any(member.sha256 != file.sha256 for member in present):
                yield (
                    f"{key}: {path} in {artifact.name} is not the file that this build prepared; "
                    "another process has written it meanwhile, build again"
                )
            # Settings such as `shared-data`, or another hook, may ship the file elsewhere.
            elif not present and file.sha256 not in contents:
                reason = _explain_missing(expected, path, found)
                yield f"{key}: {path} is missing from {artifact.name}: {reason}"


def _explain_missing(expected: Expectation, path: str, links: list[Member]) -> str:
    if links:
        return (
            f"it is a link to {links[0].link}, which the archive does not contain; replace the "
            "link by the file"
        )
    if not is_file(expected.root / path):
        return "it was removed while the archive was built"
    return expected.explain_absence(path) or "hatchling or another build hook has left it out"


def _find_raw_weights(
    artifact: Path,
    expected: Expectation,
    raw_weights: list[tuple[Model, str]],
    members: list[Member],
) -> Iterator[str]:
    for model, path in raw_weights:
        size = (expected.root / path).stat().st_size
        alike = [member for member in members if member.size == size and member.sha256]
        # Reading a large source again takes time: only do it if a member has the same size.
        sha256 = fingerprint(expected.root / path).sha256 if alike else ""
        for member in alike:
            if member.sha256 == sha256:
                yield (
                    f"{model.key}.source: the raw weights {path} are in {artifact.name} as "
                    f"{member.name}; exclude that file"
                )


def _check_size(
    artifact: Path, expected: Expectation, files: Mapping[str, Mapping[str, Fingerprint]]
) -> list[str]:
    limit = expected.config.size_limit
    if limit is None or artifact.stat().st_size <= limit:
        return []
    models = expected.config.models
    targets = [expected.root / m.target for m in models if not expected.ships_source(m)]
    names = {
        name for paths in files.values() for path in paths for name in expected.find_names(path)
    }
    return list(explain_excess(artifact, limit, targets, names))
