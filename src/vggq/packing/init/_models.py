"""The model to set up: its source, its target, and the package that contains the target."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from ..._member_paths import find_path_problem
from ...errors import OptionError, SourceError
from ..packer import SUFFIX
from ._layout import Package, find_package, package_of
from ._sources import ModelSource, find_source, read_source

if TYPE_CHECKING:
    from ._project import Project

_FORMATS_OF_TORCH: Final = ("safetensors", "sharded", "torch")


@dataclass(frozen=True, slots=True)
class Model:
    """A model of a project.

    Attributes:
        source: its source.
        target: its packed file, relative to the project.
        package: the package that contains the packed file.
        is_new: whether the hook has no table for it yet.
        layout: the option `layout`.

    """

    source: ModelSource
    target: PurePosixPath
    package: Package
    is_new: bool
    layout: str | None = None

    @property
    def is_keras(self) -> bool:
        """Whether the source is a file of Keras."""
        return self.source.format.startswith("keras")

    @property
    def is_for_torch(self) -> bool:
        """Whether its tensors are probably those of a torch module."""
        return self.layout == "torch" or self.source.format.startswith(_FORMATS_OF_TORCH)

    def table(self, root: Path) -> dict[str, str]:
        """Return the table of the hook."""
        source = relative_path(root, self.source.path)
        layout = {"layout": self.layout} if self.layout else {}
        return {"source": source, "target": str(self.target)} | layout


def choose_model(project: Project, path: Path | None, target: str | None) -> Model:
    """Return the model that a source and a target mean.

    Args:
        project: the project.
        path: the source; by default that of the only model, or the only checkpoint.
        target: the packed file relative to the project; by default in the project's package.

    Raises:
        TargetError: it is not clear which package is meant.
        SourceError: the source cannot be packed, or it is not clear which one is meant.
        OptionError: the target is not in the project, or belongs to another model.

    """
    existing = _find_existing(project, path)
    if existing:
        return _existing_model(project, existing, target)
    source = read_source(_absolute(project.root, path) if path else find_source(project.root))
    place, package = _choose_target(project, source, target)
    _check_place(project.root, source.path, place)
    return Model(source, place, package, is_new=True, layout=_choose_layout(project, source))


def _existing_model(project: Project, table: dict[str, str], target: str | None) -> Model:
    source = read_source(_locate(project, table["source"]), table.get("restore"))
    kept = PurePosixPath(table["target"])
    if target is not None and PurePosixPath(target) != kept:
        raise OptionError([("target", f"the model {table['source']} has {kept} already")])
    package = package_of(kept, project)
    return Model(source, kept, package, is_new=False, layout=table.get("layout"))


def _choose_target(
    project: Project, source: ModelSource, target: str | None
) -> tuple[PurePosixPath, Package]:
    if target is None:
        package = find_package(project)
        place = package.folder / f"{source.name}{SUFFIX}"
    else:
        place = _check_target(project.root, target)
        package = package_of(place, project)
    if any(PurePosixPath(model["target"]) == place for model in project.models):
        raise OptionError([("target", f"{place} is that of another model; choose another one")])
    return place, package


def _find_existing(project: Project, path: Path | None) -> dict[str, str] | None:
    """Return the table of a source; without a path, that of the only model."""
    models = project.models
    if path is None:
        return models[0] if len(models) == 1 else None
    wanted = _absolute(project.root, path)
    return next((m for m in models if _locate(project, m["source"]) == wanted), None)


def _locate(project: Project, source: str) -> Path:
    return _absolute(project.root, project.root / source)


def _absolute(root: Path, path: Path) -> Path:
    """Return an absolute path without `..`, which is below the resolved root if it can be.

    A folder of weights in the project may be a link to another disk.
    """
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - `Path.absolute` keeps `..`
    if absolute.is_relative_to(root):
        return absolute
    return absolute.parent.resolve() / absolute.name


def _check_target(root: Path, target: str) -> PurePosixPath:
    path = PurePosixPath(target.replace(os.sep, "/"))
    if path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
        problem = f"expected a path in a package, relative to the project, found {target!r}"
        raise OptionError([("target", problem)])
    if path.suffix != SUFFIX:
        raise OptionError([("target", f"expected a name that ends in {SUFFIX}, found {target!r}")])
    if found := find_path_problem(path.as_posix()):
        raise OptionError([("target", f"expected another path: {target!r} {found}")])
    if file := next((folder for folder in path.parents if (root / folder).is_file()), None):
        raise OptionError([("target", f"expected a path in folders, but {file} is a file")])
    return path


def _check_place(root: Path, source: Path, target: PurePosixPath) -> None:
    """Reject a folder as the source that contains the target, and so the code of the package."""
    if source.is_dir() and (root / target).resolve().is_relative_to(source.resolve()):
        problem = f"the folder contains the target {target}; move the model to a folder of its own"
        raise SourceError(f"{problem}, such as weights/{source.name or 'model'}", path=source)


def _choose_layout(project: Project, source: ModelSource) -> str | None:
    """Return the layout for a Keras source in a package that uses torch and not Keras."""
    uses_keras = any(project.depends_on(name) for name in ("keras", "tensorflow"))
    is_for_torch = source.format.startswith("keras") and project.depends_on("torch")
    return "torch" if is_for_torch and not uses_keras else None


def relative_path(root: Path, path: Path) -> str:
    """Return the path of a source with slashes; on another drive of Windows it is absolute."""
    try:
        return os.path.relpath(path, root).replace(os.sep, "/")
    except ValueError:
        return path.as_posix()
