"""Whether whoever installs the package will be able to restore its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from vggq._manifest_json import FIRST_READER, VERSION
from vggq.errors import TargetError
from vggq.packing import vendoring

from .config import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from packaging.markers import Marker

    from .config import Model

_OURS: Final = "hatch-vggq"
_BOUND: Final = f"{_OURS}>={FIRST_READER}"


def check(root: Path, models: Iterable[Model], dependencies: Sequence[str]) -> None:
    """Hold ``project.dependencies`` against what restoring the models takes.

    Raises:
        ConfigurationError: something is missing, or too old; the lines say what to write.

    """
    errors = [error for model in models for error in _errors(root, model, dependencies)]
    if errors:
        # Models of one package have theirs in common.
        raise ConfigurationError(list(dict.fromkeys(errors)))


def _errors(root: Path, model: Model, dependencies: Sequence[str]) -> list[str]:
    try:
        copies = vendoring.find_copies(root, root / model.target)
    except TargetError as error:
        return [str(error).replace(f"{root}/", "")]
    if copies:
        return _errors_of_copies(root, copies, dependencies)
    return _errors_without_a_copy(dependencies)


def _errors_without_a_copy(dependencies: Iterable[str]) -> list[str]:
    """What is wrong with the dependencies of a package that imports vggq."""
    ours = _at_run_time(dependencies, _OURS)
    if not ours:
        return [
            (
                "project.dependencies: the package needs hatch-vggq to restore its weights: "
                f'add "{_BOUND}"'
            )
        ]
    return [
        f"project.dependencies: {str(requirement)!r} shuts out every release that reads the "
        f'packed file: write "{_BOUND}"'
        for requirement in ours
        if not _admits(requirement, Version(FIRST_READER))
    ]


def _errors_of_copies(
    root: Path, copies: Iterable[vendoring.Copy], dependencies: Sequence[str]
) -> list[str]:
    missing = [
        f'project.dependencies: the vendored copy of vggq needs {name}: add "{specifier}"'
        for specifier in vendoring.requirements()
        if not _at_run_time(dependencies, name := Requirement(specifier).name)
    ]
    old = [
        f"{copy.folder.relative_to(root).as_posix()}: the copy of vggq {copy.version} knows format "
        f"version {copy.format}, and {VERSION} is to be written: run `vggq vendor` again"
        for copy in sorted(set(copies))
        if copy.format < VERSION
    ]
    return missing + old


def _at_run_time(dependencies: Iterable[str], name: str) -> list[Requirement]:
    # hatchling has refused what is no requirement.
    requirements = map(Requirement, dependencies)
    return [r for r in requirements if canonicalize_name(r.name) == name and _holds(r.marker)]


def _holds(marker: Marker | None) -> bool:
    return marker is None or marker.evaluate({"extra": ""})


def _admits(requirement: Requirement, first: Version) -> bool:
    """Whether some release from `first` on meets a requirement.

    That is decided at the bounds that it names, and a step beyond each.
    """
    candidates = [first, Version("999999")]
    for specifier in requirement.specifier:
        text = specifier.version.removesuffix(".*")
        try:
            candidates += [Version(text), Version(f"{Version(text).base_version}.0.1")]
        except InvalidVersion:
            # === takes any string, and then it is nobody's release number.
            return False
    admitted = requirement.specifier.filter(candidates, prereleases=True)
    return any(version >= first for version in admitted)
