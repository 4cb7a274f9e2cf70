"""Plan the changes that set up a project for the hook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ...errors import TargetError
from ..vendoring import find_copies
from ._changes import Change
from ._edits import add_build_system, add_requirement, add_table
from ._git import plan_gitignore
from ._models import Model, choose_model
from ._project import HOOK, Document, Project, names_distribution, read_project
from ._remarks import NAME, REQUIREMENT, list_remarks
from ._usage import show_usage

if TYPE_CHECKING:
    from pathlib import Path

_MAX_LISTED_FILES: Final = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """The setup of a project for the hook.

    Attributes:
        changes: the files to write; none if the project is set up already.
        remarks: what the user should know or do, one line each.
        usage: the lines of Python that use the model.

    """

    changes: tuple[Change, ...]
    remarks: tuple[str, ...]
    usage: str


def plan_setup(root: Path, source: Path | None = None, target: str | None = None) -> Plan:
    """Plan what a project needs to ship a model. No file is written.

    Args:
        root: the folder of the project.
        source: the checkpoint; by default the one of the project's only model, or the only
            checkpoint in the project.
        target: the packed file relative to the project; by default in the project's package.

    Raises:
        TargetError: the project cannot be set up, and the message says why and what to do.
        SourceError: the source cannot be packed, or it is not clear which one is meant.
        OptionError: the target is not in the project, or belongs to another model.

    """
    root = root.resolve()
    project = read_project(root)
    model = choose_model(project, source, target)
    pyproject, hatch = _edit_documents(project, model)
    documents = {project.pyproject.path: (project.pyproject, pyproject)}
    if project.hatch.path != project.pyproject.path:
        documents[project.hatch.path] = (project.hatch, hatch)
    changes = [_as_change(old, new) for old, new in documents.values() if new != old.text]
    ignored = plan_gitignore(root, [root / model.target], _ignored_sources(root, model))
    changes += [ignored] if ignored else []
    resource = model.target.relative_to(model.package.folder).as_posix()
    usage = show_usage(model.source, model.package.name, resource, in_torch=model.is_for_torch)
    return Plan(tuple(changes), tuple(list_remarks(project, model)), usage)


def _edit_documents(project: Project, model: Model) -> tuple[str, str]:
    """Return the new texts of pyproject.toml and of the file with Hatch's table `build`."""
    try:
        pyproject = _edit_pyproject(project, model)
    except TargetError as error:
        raise error.locate(path=project.pyproject.path) from error
    is_same = project.hatch.path == project.pyproject.path
    try:
        hatch = _edit_hatch(project, model, pyproject if is_same else project.hatch.text)
    except TargetError as error:
        raise error.locate(path=project.hatch.path) from error
    return (hatch if is_same else pyproject), hatch


def _edit_pyproject(project: Project, model: Model) -> str:
    text = project.pyproject.text
    table = project.pyproject.table
    if "build-system" not in table:
        text = add_build_system(text, ["hatchling", NAME])
    elif not names_distribution(table["build-system"].get("requires", ()), NAME):
        text = add_requirement(text, ("build-system", "requires"), NAME)
    if _needs_dependency(project, model):
        text = add_requirement(text, ("project", "dependencies"), REQUIREMENT)
    return text


def _needs_dependency(project: Project, model: Model) -> bool:
    if "dependencies" in project.metadata.get("dynamic", ()):
        return False
    named = names_distribution(project.metadata.get("dependencies", ()), NAME)
    return not named and not find_copies(project.root, project.root / model.target)


def _edit_hatch(project: Project, model: Model, text: str) -> str:
    if not model.is_new:
        return text
    if not model.package.is_selected:
        keys = (*project.prefix, "targets", "wheel")
        text = add_table(text, keys, {"packages": [str(model.package.folder)]}, is_item=False)
    keys = (*project.prefix, *HOOK, "models")
    return add_table(text, keys, model.table(project.root), is_item=True)


def _as_change(old: Document, new: str) -> Change:
    return Change(old.path, old.text.replace("\n", old.newline), new.replace("\n", old.newline))


def _ignored_sources(root: Path, model: Model) -> list[Path]:
    """Return the files of a source to ignore, or their folder if there are many."""
    source = model.source
    if source.path.is_dir() or len(source.files) <= _MAX_LISTED_FILES:
        return [source.path] if source.path.is_dir() else list(source.files)
    folder = source.path.parent
    contains_code = (root / model.package.folder).is_relative_to(folder)
    return list(source.files) if contains_code else [folder]
