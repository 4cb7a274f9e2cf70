"""Remarks for the user, beside the changes of files."""

from __future__ import annotations

from importlib.metadata import metadata
from typing import TYPE_CHECKING, Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from ..._manifest_json import FIRST_READER
from ...errors import TargetError
from ._models import relative_path
from ._project import HOOK, table_at
from ._sources import find_model_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._models import Model
    from ._project import Project

NAME: Final = "hatch-vggq"
REQUIREMENT: Final = f"{NAME}>={FIRST_READER}"
"""The dependency of a package that restores packed files of this release."""

_OLD_PYTHONS: Final = tuple(f"3.{minor}.{patch}" for minor in range(11) for patch in (0, 99))


def list_remarks(project: Project, model: Model) -> Iterator[str]:
    """Yield remarks on a project and its model, one line each."""
    if "dependencies" in project.metadata.get("dynamic", ()):
        yield (
            f"project.dependencies is dynamic: add {REQUIREMENT!r} where your build makes the list"
        )
    if model.is_new and model.package.others:
        folder = model.package.folder
        yield f"hatchling ships more folders than {folder}; --target chooses another one"
    if (model_folder := find_model_folder(model.source.path)) is not None:
        shown = relative_path(project.root, model_folder)
        yield (
            f"{shown} looks like a folder of Hugging Face: `vggq init {shown}` ships its settings "
            "and its tokenizer as well"
        )
    yield from _find_old_pythons(str(project.metadata.get("requires-python", "")))
    yield from _find_replacing_tables(project)
    if model.is_keras and model.is_new and model.layout is None:
        yield (
            'the packed file gives arrays by name; add layout = "torch" to the table for a module '
            'of torch, or restore = "model" for keras.models.load_model (docs/models.md)'
        )


def _find_old_pythons(requires_python: str) -> Iterator[str]:
    supported = metadata(NAME)["Requires-Python"]
    try:
        admitted = SpecifierSet(requires_python)
    except InvalidSpecifier as error:
        raise TargetError(f"project.requires-python: {error}") from error
    if any(admitted.contains(python) for python in _OLD_PYTHONS):
        found = f"{requires_python!r} admits" if requires_python else "missing, which admits"
        yield (
            f"project.requires-python: {found} Pythons that {NAME} does not support; write "
            f"{supported!r}, or add a marker to the dependency: "
            f"\"{NAME}; python_version >= '{supported.removeprefix('>=')}'\""
        )


def _find_replacing_tables(project: Project) -> Iterator[str]:
    """Yield a remark on each target whose own table of the hook replaces the global one."""
    for name, target in table_at(project.build, ("targets",)).items():
        if isinstance(target, dict) and table_at(target, HOOK):
            key = ".".join([*project.prefix, "targets", name, *HOOK])
            yield f"{key} replaces the table of all targets: add the model to it as well"
