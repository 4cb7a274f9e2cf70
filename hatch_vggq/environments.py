"""The environments that a package may be installed in, as values for dependency markers.

A wheel is built on one machine and installed on others, so a marker must not be evaluated for the
Python and the system of the builder. The environments here are a grid:

- every Python from 3.11 to 3.19 that `requires-python` admits, in two patch release;
- CPython and PyPy;
- Linux, macOS and Windows, each on two processors;
- every other value that the markers name, such as the Python "3.12.4" or the system "freebsd14".
"""

from __future__ import annotations

import re
from contextlib import suppress
from importlib.metadata import metadata
from itertools import product
from typing import TYPE_CHECKING, Final

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from packaging.markers import Marker

Environment = dict[str, str]

_PYTHONS: Final = tuple(f"3.{minor}" for minor in range(11, 20))
_RELEASED_PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
_OLD_PYTHONS: Final = ("2.7", *(f"3.{minor}" for minor in range(11)))
_PATCHES: Final = (0, 99)

_IMPLEMENTATIONS: Final[tuple[Environment, ...]] = (
    {"implementation_name": "cpython", "platform_python_implementation": "CPython"},
    {"implementation_name": "pypy", "platform_python_implementation": "PyPy"},
)
_LINUX: Final = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"}
_MACOS: Final = {"os_name": "posix", "sys_platform": "darwin", "platform_system": "Darwin"}
_WINDOWS: Final = {"os_name": "nt", "sys_platform": "win32", "platform_system": "Windows"}
_COMMON_SYSTEMS: Final[tuple[Environment, ...]] = (
    {**_LINUX, "platform_machine": "x86_64"},
    {**_MACOS, "platform_machine": "arm64"},
    {**_WINDOWS, "platform_machine": "AMD64"},
)
_SYSTEMS: Final[tuple[Environment, ...]] = (
    *_COMMON_SYSTEMS,
    {**_LINUX, "platform_machine": "aarch64"},
    {**_MACOS, "platform_machine": "x86_64"},
    {**_WINDOWS, "platform_machine": "ARM64"},
)
# Markers may compare these with any version.
_FREE_VERSIONS: Final[Environment] = {
    "implementation_version": "1",
    "platform_release": "1",
    "platform_version": "1",
}
_EXTREME_VERSIONS: Final = {"0", "99999"}

_OPERATOR: Final = r"\s*(?:not in|in|[<>=!~]+)\s*"
_VARIABLE_FIRST: Final = re.compile(rf'(\w+){_OPERATOR}"([^"]*)"')
_VALUE_FIRST: Final = re.compile(rf'"([^"]*)"{_OPERATOR}(\w+)')


def supported_pythons() -> SpecifierSet:
    """Return the Pythons that hatch-vggq supports, which are those of a vendored copy as well."""
    return SpecifierSet(metadata("hatch-vggq")["Requires-Python"])


def list_environments(requires_python: str, markers: Iterable[Marker]) -> list[Environment]:
    """Return environments that tell whether markers can hold where a package is installed.

    Args:
        requires_python: the `requires-python` of the package; empty if it does not set it.
        markers: the markers to evaluate.

    """
    named = _named_values(markers)
    named_pythons = named.pop("python_version", set()) | named.pop("python_full_version", set())
    pythons = [
        python
        for python in _candidate_pythons(requires_python, named_pythons)
        if _admits(SpecifierSet(requires_python), python) and _admits(supported_pythons(), python)
    ]
    others = {name: _other_values(name, values) for name, values in named.items()}
    return [
        environment
        for base in _combine(pythons, _IMPLEMENTATIONS, _SYSTEMS)
        for environment in _vary(base, others)
    ]


def list_common_environments(requires_python: str) -> list[Environment]:
    """Return the environments of most users: released versions of CPython on usual processors."""
    admitted = SpecifierSet(requires_python)
    pythons = [python for python in _patch_releases(_RELEASED_PYTHONS) if _admits(admitted, python)]
    return list(_combine(pythons, _IMPLEMENTATIONS[:1], _COMMON_SYSTEMS))


def list_old_environments(requires_python: str) -> list[Environment]:
    """Return environments with Pythons that `requires-python` admits and hatch-vggq does not."""
    admitted = SpecifierSet(requires_python)
    pythons = [python for python in _patch_releases(_OLD_PYTHONS) if _admits(admitted, python)]
    return list(_combine(pythons, _IMPLEMENTATIONS[:1], _COMMON_SYSTEMS))


def holds(marker: Marker | None, environment: Environment) -> bool:
    """Return whether a marker holds in an environment, if no extra is requested."""
    try:
        return marker is None or marker.evaluate({"extra": "", **environment})
    except (UndefinedComparison, UndefinedEnvironmentName):
        # No installer can evaluate this marker either.
        return False


def _combine(
    pythons: Iterable[Version],
    implementations: Collection[Environment],
    systems: Collection[Environment],
) -> Iterator[Environment]:
    for python, implementation, system in product(pythons, implementations, systems):
        versions = {
            "python_version": f"{python.major}.{python.minor}",
            "python_full_version": str(python),
        }
        yield {**versions, **implementation, **system, **_FREE_VERSIONS}


def _vary(base: Environment, others: dict[str, set[str]]) -> Iterator[Environment]:
    """Yield an environment, and the same one with each combination of the other values."""
    options = [[value, *sorted(others.get(name, ()))] for name, value in base.items()]
    for values in product(*options):
        yield dict(zip(base, values, strict=True))


def _named_values(markers: Iterable[Marker]) -> dict[str, set[str]]:
    """Return the values that markers compare each variable with."""
    named: dict[str, set[str]] = {}
    for text in map(str, markers):
        pairs = [(match[1], match[2]) for match in _VARIABLE_FIRST.finditer(text)]
        pairs += [(match[2], match[1]) for match in _VALUE_FIRST.finditer(text)]
        for variable, value in pairs:
            named.setdefault(variable, set()).add(value)
    return named


def _other_values(name: str, named: set[str]) -> set[str]:
    """Return the values of a variable that are named but not in the grid."""
    if name in _FREE_VERSIONS:
        return named | _EXTREME_VERSIONS
    # A system that is in the grid must keep its own combination of values.
    return named - {entry[name] for entry in (*_IMPLEMENTATIONS, *_SYSTEMS) if name in entry}


def _candidate_pythons(requires_python: str, named: set[str]) -> list[Version]:
    bounds = {specifier.version.removesuffix(".*") for specifier in SpecifierSet(requires_python)}
    return sorted({*_patch_releases(_PYTHONS), *_neighbours(named | bounds)})


def _patch_releases(pythons: Iterable[str]) -> Iterator[Version]:
    return (Version(f"{python}.{patch}") for python, patch in product(pythons, _PATCHES))


def _neighbours(texts: Iterable[str]) -> Iterator[Version]:
    """Yield the versions that texts name, with the releases before and after them."""
    for text in texts:
        # A marker may also compare with a list of versions, such as "3.11 3.12" after `in`.
        with suppress(InvalidVersion):
            version = Version(text)
            yield version
            for patch in (max(version.micro - 1, 0), version.micro + 1):
                yield Version(f"{version.major}.{version.minor}.{patch}")
            yield Version(f"{version.major}.{version.minor + 1}.0")


def _admits(specifiers: SpecifierSet, python: Version) -> bool:
    return specifiers.contains(python, prereleases=True)
