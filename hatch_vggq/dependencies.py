"""Check that a package depends on everything that restoring its weights needs.

A requirement with a marker is judged for all environments that the package admits, not for the one
that builds it. A build is refused only if no environment can have what it needs. If some
environments lack it, the build warns: the package may do without its weights there, on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement

from vggq.errors import TargetError
from vggq.packing import FIRST_READER, FORMAT_VERSION, vendoring

from .environments import list_environments, list_old_environments, supported_pythons
from .messages import BuildError
from .needs import Need, describe_gaps, find_need_problem, is_installed
from .words import join_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from .config import Model

_READER: Final = "hatch-vggq"
_READER_NEED: Final = Need(
    line=f"{_READER}>={FIRST_READER}",
    reason=f"the package needs {_READER} to restore its weights",
    suitable="that reads the packed file",
)
_KEY: Final = "project.dependencies"
_PYTHON_KEY: Final = "project.requires-python"


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata of a package that decides where its weights can be restored.

    Attributes:
        dependencies: the requirements of ``project.dependencies``; None if they are not known.
        requires_python: ``project.requires-python``; empty if the project does not set it.

    """

    dependencies: Sequence[str] | None
    requires_python: str = ""


def check_dependencies(
    root: Path, models: Iterable[Model], metadata: Metadata, packages: Iterable[Path] = ()
) -> list[str]:
    """Compare a package's metadata with what restoring its models needs.

    Args:
        root: the project's root.
        models: the models that the package contains.
        metadata: the package's metadata.
        packages: the folders that ship, where a vendored copy may be if a model is outside them.

    Returns:
        Warnings about environments that lack what they need, one line each.

    Raises:
        BuildError: a requirement is missing or excludes all suitable releases, or a
            vendored copy is too old; each line says what to write or to run.

    """
    try:
        copies = [vendoring.find_copies(root, root / m.target, packages) for m in models]
    except TargetError as error:
        raise BuildError([error.render(root)]) from error
    needs = _list_needs(copies)
    problems = [
        *_find_problems(needs, metadata),
        *_find_outdated(root, {copy for found in copies for copy in found}),
    ]
    if problems:
        raise BuildError(problems)
    return [f"vggq: {warning}" for warning in _find_warnings(needs, metadata)]


def _list_needs(copies: Iterable[Sequence[vendoring.Copy]]) -> list[Need]:
    """Return what the models need, each of which has vendored copies in its package or not."""
    needs: dict[Need, None] = {}
    for found in copies:
        needs.update(dict.fromkeys(_needs_of_copies() if found else [_READER_NEED]))
    return list(needs)


def _needs_of_copies() -> list[Need]:
    return [
        Need(
            line=line,
            reason=f"the vendored copy of vggq needs {Requirement(line).name}",
            suitable="that the vendored copy of vggq can use",
        )
        for line in vendoring.run_time_requirements()
    ]


def _find_problems(needs: Iterable[Need], metadata: Metadata) -> Iterator[str]:
    requires_python = metadata.requires_python
    if not list_environments(requires_python, []):
        yield (
            f"{_PYTHON_KEY}: {requires_python!r} admits no Python that {_READER} supports; write "
            f'"{supported_pythons()}"'
        )
        return
    for need in needs:
        if metadata.dependencies is None:
            continue
        if problem := find_need_problem(need, metadata.dependencies, requires_python):
            yield f"{_KEY}: {problem}"


def _find_warnings(needs: Sequence[Need], metadata: Metadata) -> Iterator[str]:
    if metadata.dependencies is not None:
        for need in needs:
            if gaps := describe_gaps(need, metadata.dependencies, metadata.requires_python):
                yield (
                    f"{_KEY}: {need.name} is missing {gaps}, where the package cannot restore its "
                    "weights"
                )
    if metadata.requires_python:
        yield from _find_old_pythons(needs, metadata)


def _find_old_pythons(needs: Sequence[Need], metadata: Metadata) -> Iterator[str]:
    """Yield a warning if the package admits Pythons where its weights cannot be restored.

    A package without `requires-python` does not claim to run on them. A marker that leaves
    hatch-vggq out on old Pythons shows that the package does without its weights there.
    """
    dependencies = metadata.dependencies or ()
    uses_copy = any(need.name != _READER for need in needs)
    old = [
        environment["python_version"]
        for environment in list_old_environments(metadata.requires_python)
        if uses_copy or is_installed(_READER, dependencies, environment)
    ]
    if old:
        who = f"the vendored copy of {_READER}" if uses_copy else _READER
        yield (
            f"{_PYTHON_KEY}: {metadata.requires_python!r} admits Python "
            f"{join_words(list(dict.fromkeys(old)))}, which {who} does not support; write "
            f'"{supported_pythons()}"'
        )


def _find_outdated(root: Path, copies: Iterable[vendoring.Copy]) -> list[str]:
    return [
        f"{copy.folder.relative_to(root).as_posix()}: the copy of vggq {copy.version} reads format "
        f"version {copy.format}, but this build writes version {FORMAT_VERSION}; "
        "run `vggq vendor` again"
        for copy in sorted(copies)
        if copy.format < FORMAT_VERSION
    ]
