"""Find the folder of a project's package, as hatchling does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from ...errors import TargetError
from ._project import table_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._project import Project

_SELECTIONS: Final = ("packages", "only-include", "include")
# hatchling ships files by these without a folder that has the project's name.
_OTHER_SELECTIONS: Final = ("artifacts", "bypass-selection", "force-include")
_MAX_DEPTH: Final = 3
_GLOB: Final = re.compile(r"[*?\[!]")
_NO_PACKAGES: Final = frozenset(
    {"benchmarks", "build", "dist", "docs", "examples", "scripts", "test", "tests", "venv"}
)


@dataclass(frozen=True, slots=True)
class Package:
    """The package that gets the packed file.

    Attributes:
        folder: its folder, relative to the project's root.
        name: its name for imports, such as ``"acme.vision"``.
        is_selected: whether hatchling ships the folder as the project is.
        others: the number of other folders that hatchling ships.

    """

    folder: PurePosixPath
    name: str
    is_selected: bool = True
    others: int = 0


def find_package(project: Project) -> Package:
    """Return the first package that hatchling ships, or the only one that there is.

    Raises:
        TargetError: there is no package, or there are several.

    """
    root = project.root
    selected = [*_list_selected(project)] or [*_find_by_name(root, project.metadata.get("name"))]
    for folder in selected:
        if inner := _first_package(root, folder):
            name = _import_name(inner, folder, project)
            return Package(inner, name, others=len(selected) - 1)
    return _find_only_package(project, is_configured=bool(selected) or _has_other_files(project))


def package_of(target: PurePosixPath, project: Project) -> Package:
    """Return the package of a target: the outermost one above it, or else its folder."""
    above = [folder for folder in target.parents if _is_package(project.root / folder)]
    folder = next((f for f in reversed(above) if f != PurePosixPath()), target.parent)
    return Package(folder, _import_name(folder, None, project))


def _list_selected(project: Project) -> Iterator[PurePosixPath]:
    """Yield the folders that the configuration of the wheel names."""
    for key in _SELECTIONS:
        for value in _list_setting(project, key):
            yield PurePosixPath(_GLOB.split(str(value))[0].strip("/"))


def _has_other_files(project: Project) -> bool:
    return any(_setting(project, key) is not None for key in _OTHER_SELECTIONS)


def _find_by_name(root: Path, project_name: object) -> Iterator[PurePosixPath]:
    """Yield the folder that has the project's name, where hatchling looks for it."""
    raw = re.sub(r"[^\w\d.]+", "_", str(project_name))
    for name in dict.fromkeys((raw, re.sub(r"[-_.]+", "_", str(project_name)).lower())):
        for folder in (PurePosixPath(name), PurePosixPath("src", name)):
            if _is_package(root / folder):
                yield folder
                return
        if (root / f"{name}.py").is_file():
            return
        spaces = [path.parent for path in root.glob(f"*/{name}/__init__.py")]
        if len(spaces) == 1:
            yield PurePosixPath(spaces[0].relative_to(root).as_posix())
            return


def _first_package(root: Path, folder: PurePosixPath) -> PurePosixPath | None:
    """Return a folder that is a package, or the first package below it, without namespaces."""
    if _is_package(root / folder):
        return folder
    if not (root / folder).is_dir() or folder == PurePosixPath():
        return None
    found = sorted(_list_packages(root / folder), key=lambda path: (len(path.parts), path))
    return PurePosixPath(found[0].relative_to(root).as_posix()) if found else None


def _list_packages(folder: Path, depth: int = _MAX_DEPTH) -> Iterator[Path]:
    """Yield the outermost packages below a folder."""
    for path in folder.iterdir() if depth else ():
        if path.is_dir() and path.name.isidentifier() and path.name not in _NO_PACKAGES:
            if _is_package(path):
                yield path
            else:
                yield from _list_packages(path, depth - 1)


def _find_only_package(project: Project, *, is_configured: bool) -> Package:
    root = project.root
    packages = [] if is_configured else [*_list_packages(root)]
    inside = [path for path in packages if path.is_relative_to(root / "src")] or packages
    if len(inside) == 1:
        folder = PurePosixPath(inside[0].relative_to(root).as_posix())
        return Package(folder, _import_name(folder, None, project), is_selected=False)
    found = ", ".join(path.relative_to(root).as_posix() for path in sorted(inside))
    raise TargetError(
        f"cannot tell which folder is the package (found {found or 'none'}); add the option "
        "--target PACKAGE/NAME.vggq. A module in one file must become a folder with __init__.py",
        path=root,
    )


def _is_package(folder: Path) -> bool:
    return (folder / "__init__.py").is_file()


def _import_name(folder: PurePosixPath, selected: PurePosixPath | None, project: Project) -> str:
    """Return the name of a package for imports.

    hatchling removes the folders above an entry of `packages`, and rewrites those of `sources`.
    """
    packages = [PurePosixPath(str(p).strip("/")) for p in _list_setting(project, "packages")]
    if selected is not None and selected in packages:
        return ".".join(folder.relative_to(selected.parent).parts)
    sources: Any = _setting(project, "sources")
    rewritten = sources if isinstance(sources, dict) else dict.fromkeys(_listed(sources), "")
    for source, prefix in {"src": "", **rewritten}.items():
        base, new = PurePosixPath(str(source).strip("/")), PurePosixPath(str(prefix).strip("/"))
        if folder.is_relative_to(base) and new / folder.relative_to(base) != PurePosixPath():
            return ".".join((new / folder.relative_to(base)).parts)
    return ".".join(folder.parts)


def _setting(project: Project, key: str) -> object:
    """Return a setting of the wheel, which takes precedence, or of all targets."""
    wheel = table_at(project.build, ("targets", "wheel"))
    return wheel.get(key, project.build.get(key))


def _list_setting(project: Project, key: str) -> list[Any]:
    return _listed(_setting(project, key))


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
