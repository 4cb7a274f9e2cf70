"""Check that `project.dependencies` has everything that restoring the weights needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from vggq.errors import TargetError
from vggq.packing import FIRST_READER, FORMAT_VERSION, vendoring

from .messages import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from packaging.markers import Marker

    from .config import Model

_READER: Final = "hatch-vggq"
_RECOMMENDED: Final = f"{_READER}>={FIRST_READER}"
_FAR_FUTURE: Final = Version("999999")


def check_dependencies(root: Path, models: Iterable[Model], dependencies: Sequence[str]) -> None:
    """Compare ``project.dependencies`` with what restoring the models needs.

    Args:
        root: the project's root.
        models: the models that the package contains.
        dependencies: the requirements of ``project.dependencies``.

    Raises:
        BuildError: a requirement is missing or excludes all suitable releases, or a
            vendored copy is too old; each line says what to write or to run.

    """
    problems = [problem for model in models for problem in _problems(root, model, dependencies)]
    if problems:
        # Models of the same package have the same problems.
        raise BuildError(list(dict.fromkeys(problems)))


def _problems(root: Path, model: Model, dependencies: Sequence[str]) -> list[str]:
    try:
        copies = vendoring.find_copies(root, root / model.target)
    except TargetError as error:
        return [error.render(root)]
    if copies:
        return _needs_of_copies(dependencies) + _outdated_copies(root, copies)
    return _reader_problems(dependencies)


def _reader_problems(dependencies: Iterable[str]) -> list[str]:
    """Return the problems of a package that imports vggq from hatch-vggq."""
    requirements = _requirements_on(_READER, dependencies)
    if not requirements:
        return [
            (
                f"project.dependencies: the package needs {_READER} to restore its weights; "
                f'add "{_RECOMMENDED}"'
            )
        ]
    return [
        f"project.dependencies: {str(requirement)!r} excludes every release that reads the "
        f'packed file; write "{_RECOMMENDED}"'
        for requirement in requirements
        if not _admits_release_from(Version(FIRST_READER), requirement)
    ]


def _needs_of_copies(dependencies: Sequence[str]) -> list[str]:
    """Return the requirements of a vendored copy that the project does not list."""
    return [
        f'project.dependencies: the vendored copy of vggq needs {name}; add "{specifier}"'
        for specifier in vendoring.run_time_requirements()
        if not _requirements_on(name := Requirement(specifier).name, dependencies)
    ]


def _outdated_copies(root: Path, copies: Iterable[vendoring.Copy]) -> list[str]:
    return [
        f"{copy.folder.relative_to(root).as_posix()}: the copy of vggq {copy.version} reads format "
        f"version {copy.format}, but this build writes version {FORMAT_VERSION}; "
        "run `vggq vendor` again"
        for copy in sorted(set(copies))
        if copy.format < FORMAT_VERSION
    ]


def _requirements_on(name: str, dependencies: Iterable[str]) -> list[Requirement]:
    """Return the requirements on a distribution that are not limited to an extra."""
    # hatchling has already rejected strings that are not requirements.
    requirements = map(Requirement, dependencies)
    return [r for r in requirements if canonicalize_name(r.name) == name and _applies(r.marker)]


def _applies(marker: Marker | None) -> bool:
    return marker is None or marker.evaluate({"extra": ""})


def _admits_release_from(first: Version, requirement: Requirement) -> bool:
    """Return whether a release from `first` on satisfies a requirement.

    A set of version specifiers can only change its answer at the versions that it names, so these
    versions and the ones just above them are tested.
    """
    candidates = [first, _FAR_FUTURE]
    for specifier in requirement.specifier:
        text = specifier.version.removesuffix(".*")
        try:
            candidates += [Version(text), Version(f"{Version(text).base_version}.0.1")]
        except InvalidVersion:
            # `===` accepts any string, and such a string is no release of hatch-vggq.
            return False
    admitted = requirement.specifier.filter(candidates, prereleases=True)
    return any(version >= first for version in admitted)
