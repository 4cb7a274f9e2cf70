"""The files that describe a project: pyproject.toml and hatch.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ...errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

HOOK: Final = ("hooks", "vggq")
"""The keys of the hook's table below the table `build` of Hatch."""

_HATCHLING: Final = "hatchling.build"
_OTHER_BUILD_FILES: Final = ("setup.py", "setup.cfg")
_PAGES: Final = "https://github.com/hatch-vggq/hatch-vggq/blob/main/docs"
_HOW_TO: Final = (
    f"To move to hatchling, see {_PAGES}/migrating.md; to keep the build backend, see "
    f"{_PAGES}/without-hatch.md"
)


@dataclass(frozen=True, slots=True)
class Document:
    r"""A TOML file.

    Attributes:
        path: the file.
        text: its content; line ends are "\n" if all of them were "\r\n".
        newline: the line end of the file.
        table: the parsed content.

    """

    path: Path
    text: str
    newline: str
    table: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Project:
    """A project that hatchling builds, or can build.

    Attributes:
        root: its folder.
        pyproject: pyproject.toml.
        hatch: the file with the table `build` of Hatch, or where it belongs.
        prefix: the keys of that table.

    """

    root: Path
    pyproject: Document
    hatch: Document
    prefix: tuple[str, ...]

    @property
    def metadata(self) -> dict[str, Any]:
        """The table `project`."""
        return table_at(self.pyproject.table, ("project",))

    @property
    def build(self) -> dict[str, Any]:
        """The table `build` of Hatch; empty if it is missing."""
        return table_at(self.hatch.table, self.prefix)

    @property
    def models(self) -> list[dict[str, Any]]:
        """The tables of models that the hook has already, if they have both paths."""
        models = table_at(self.build, HOOK).get("models", [])
        return [model for model in models if isinstance(model, dict) and _has_paths(model)]

    def depends_on(self, name: str) -> bool:
        """Return whether the project or one of its extras depends on a distribution."""
        extras = table_at(self.metadata, ("optional-dependencies",)).values()
        every = [*self.metadata.get("dependencies", ()), *(line for e in extras for line in e)]
        return names_distribution(every, name)


def _has_paths(model: dict[str, Any]) -> bool:
    return all(isinstance(model.get(key), str) for key in ("source", "target"))


def read_project(root: Path) -> Project:
    """Read the files of a project.

    Raises:
        TargetError: there is no pyproject.toml, a file is not valid TOML, or the project is not
            one that hatchling builds.

    """
    pyproject = _read(root / "pyproject.toml")
    if pyproject is None:
        raise TargetError(_explain_missing(root), path=root / "pyproject.toml")
    _check_backend(root, pyproject)
    if not isinstance(pyproject.table.get("project"), dict):
        raise TargetError("has no table [project], which hatchling needs", path=pyproject.path)
    separate = _read(root / "hatch.toml")
    # The table `build` in hatch.toml replaces tool.hatch.build as a whole.
    in_pyproject = "build" in table_at(pyproject.table, ("tool", "hatch"))
    if separate is None or (in_pyproject and "build" not in separate.table):
        return Project(root, pyproject, pyproject, ("tool", "hatch", "build"))
    return Project(root, pyproject, separate, ("build",))


def table_at(table: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Return the table at a dotted key; an empty one if it is missing."""
    for key in keys:
        found = table.get(key)
        table = found if isinstance(found, dict) else {}
    return table


def names_distribution(lines: Iterable[object], name: str) -> bool:
    """Return whether one of some requirements is on a distribution."""
    return name in _distributions(lines)


def _distributions(lines: Iterable[object]) -> Iterator[str]:
    for line in lines:
        try:
            yield canonicalize_name(Requirement(str(line)).name)
        except InvalidRequirement:
            continue


def _read(path: Path) -> Document | None:
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise TargetError("not a regular file", path=path)
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TargetError(f"cannot be read: {error.strerror}", path=path) from error
    except UnicodeDecodeError as error:
        raise TargetError(f"not valid UTF-8: {error}", path=path) from error
    newline = "\r\n" if "\r\n" in text and text.count("\n") == text.count("\r\n") else "\n"
    try:
        return Document(path, text.replace(newline, "\n"), newline, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise TargetError(f"not valid TOML: {error}", path=path) from error


def _explain_missing(root: Path) -> str:
    if any((root / name).exists() for name in _OTHER_BUILD_FILES):
        return f"no such file: setuptools builds this project without it. {_HOW_TO}"
    return (
        "no such file; run `vggq init` in the folder of your project, or name the folder with "
        "--project. `hatch new --init` makes a new pyproject.toml"
    )


def _check_backend(root: Path, pyproject: Document) -> None:
    build_system = pyproject.table.get("build-system")
    if build_system is None:
        setuptools = "setuptools" in table_at(pyproject.table, ("tool",))
        if setuptools or any((root / name).exists() for name in _OTHER_BUILD_FILES):
            _refuse("setuptools", pyproject.path)
        return
    backend = table_at(pyproject.table, ("build-system",)).get("build-backend", "setuptools")
    if backend != _HATCHLING:
        _refuse(str(backend), pyproject.path)
    if "requires" not in build_system:
        raise TargetError('build-system: add requires = ["hatchling"]', path=pyproject.path)


def _refuse(backend: str, path: Path) -> None:
    raise TargetError(
        f"the build backend is {backend}, and the hook works with {_HATCHLING} only. {_HOW_TO}",
        path=path,
    )
