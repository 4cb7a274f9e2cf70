"""Compare what restoring weights needs with `project.dependencies`, in every environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from .environments import holds, list_common_environments, list_environments
from .words import join_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .environments import Environment

_FAR_FUTURE: Final = Version("999999")
_SYSTEM_NAMES: Final = {"Darwin": "macOS"}


@dataclass(frozen=True, slots=True)
class Need:
    """A distribution that a package needs to restore its weights.

    Attributes:
        line: the requirement to write into ``project.dependencies``.
        reason: a clause that says who needs the distribution.
        suitable: a clause that says which of its releases are suitable.

    """

    line: str
    reason: str
    suitable: str

    @property
    def requirement(self) -> Requirement:
        """The parsed requirement."""
        return Requirement(self.line)

    @property
    def name(self) -> str:
        """The normalized name of the distribution."""
        return canonicalize_name(self.requirement.name)


def find_need_problem(need: Need, dependencies: Sequence[str], requires_python: str) -> str | None:
    """Return why no environment of a package can have what it needs; None if one can."""
    found = _requirements_on(need.name, dependencies)
    markers = [r.marker for r in (need.requirement, *found) if r.marker is not None]
    environments = list_environments(requires_python, markers)
    installed = [_installed(found, e) for e in environments if holds(need.requirement.marker, e)]
    if not installed or any(_is_suitable(need, requirements) for requirements in installed):
        return None
    excluding = next(filter(None, installed), None)
    if excluding:
        names = join_words([repr(str(requirement)) for requirement in excluding])
        verb = "excludes" if len(excluding) == 1 else "exclude"
        return f'{names} {verb} every release {need.suitable}; write "{need.line}"'
    if found:
        names = join_words([repr(str(requirement)) for requirement in found])
        return f'{need.reason}, and {names} never installs it by default; write "{need.line}"'
    return f'{need.reason}; add "{need.line}"'


def describe_gaps(need: Need, dependencies: Sequence[str], requires_python: str) -> str | None:
    """Return in which common environments a package lacks what it needs; None if in none."""
    found = _requirements_on(need.name, dependencies)
    common = [
        environment
        for environment in list_common_environments(requires_python)
        if holds(need.requirement.marker, environment)
    ]
    lacking = [e for e in common if not _is_suitable(need, _installed(found, e))]
    return _describe_environments(lacking, common) if lacking else None


def is_installed(name: str, dependencies: Sequence[str], environment: Environment) -> bool:
    """Return whether the dependencies install a distribution in an environment."""
    return bool(_installed(_requirements_on(name, dependencies), environment))


def _requirements_on(name: str, dependencies: Iterable[str]) -> list[Requirement]:
    # hatchling has already rejected strings that are not requirements.
    requirements = map(Requirement, dependencies)
    return [r for r in requirements if canonicalize_name(r.name) == name]


def _installed(requirements: Iterable[Requirement], environment: Environment) -> list[Requirement]:
    return [r for r in requirements if holds(r.marker, environment)]


def _is_suitable(need: Need, requirements: Sequence[Requirement]) -> bool:
    """Return whether requirements install a release that the package can use.

    A set of version specifiers can only change its answer at the versions that it names, so these
    versions and the ones just above them are tested.
    """
    specifiers = [s for r in (need.requirement, *requirements) for s in r.specifier]
    candidates = [_FAR_FUTURE]
    for specifier in specifiers:
        text = specifier.version.removesuffix(".*")
        try:
            candidates += [Version(text), Version(f"{Version(text).base_version}.0.1")]
        except InvalidVersion:
            # `===` accepts any string, and such a string is no release of a distribution.
            return False
    admitted = SpecifierSet(",".join(map(str, specifiers))).filter(candidates, prereleases=True)
    return bool(requirements) and any(True for _ in admitted)


def _describe_environments(chosen: list[Environment], everything: list[Environment]) -> str:
    """Return environments in words, such as "on Linux" or "with Python 3.14 on Windows"."""
    all_pythons = _pythons(everything)
    groups: dict[tuple[str, ...], list[str]] = {}
    systems = list(dict.fromkeys(e["platform_system"] for e in everything))
    for system in systems:
        pythons = _pythons(e for e in chosen if e["platform_system"] == system)
        if pythons:
            groups.setdefault(pythons, []).append(_SYSTEM_NAMES.get(system, system))
    phrases = [
        _phrase("with Python", pythons, all_pythons) + _phrase("on", names, systems)
        for pythons, names in groups.items()
    ]
    return join_words([phrase.strip() or "everywhere" for phrase in phrases])


def _pythons(environments: Iterable[Environment]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(environment["python_version"] for environment in environments))


def _phrase(preposition: str, names: Sequence[str], everything: Sequence[str]) -> str:
    is_everything = len(names) == len(everything)
    return "" if is_everything else f" {preposition} {join_words(list(names))}"
