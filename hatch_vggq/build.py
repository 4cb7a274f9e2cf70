"""Prepare the models before an artifact is built: pack, reuse or verify their packed files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import vggq
from vggq.errors import (
    MissingDependencyError,
    OptionError,
    SourceError,
    TargetError,
    VggqError,
)
from vggq.packing import (
    OPTIONALLY_RECORDED,
    Size,
    advise_on_accuracy,
    check_target,
    describe,
    flat_options,
    is_current,
    pack_with,
    recorded_options,
    remove_leftovers,
    verify,
)

from .messages import BuildError, format_error
from .missing_source import advise_on_missing_source, describe_pattern
from .model_files import (
    get_scratch_folder,
    has_source,
    is_file,
    is_unpacked_sdist,
    list_source_paths,
)
from .prepared_model import ship_packed_file, ship_source
from .requirements import explain_missing_library
from .rollback import Rollback
from .source_folder import list_folder_paths

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .config import Model
    from .prepared_model import PreparedModel


@dataclass(frozen=True, slots=True)
class Build:
    """A build of one artifact.

    Attributes:
        root: the project's root.
        target_name: hatchling's name of the artifact's kind, such as "wheel" or "sdist".
        models: the models of the package.
        later_hooks: the names of the build hooks that run after this one.

    """

    root: Path
    target_name: str
    models: Sequence[Model]
    later_hooks: Sequence[str] = ()


def prepare_model(build: Build, model: Model) -> PreparedModel:
    """Prepare a model for an artifact.

    Raises:
        BuildError: the files that have to ship are missing, invalid, or cannot be written.

    """
    try:
        if build.target_name == "sdist" and model.sdist == "source":
            return _prepare_source(build, model)
        return _prepare_packed_file(build, model)
    except MissingDependencyError as error:
        lines = explain_missing_library(build.root, model, build.models, error)
        raise BuildError(lines) from error
    except VggqError as error:
        raise BuildError(format_error(build.root, model, error)) from error


def _prepare_source(build: Build, model: Model) -> PreparedModel:
    if not has_source(build.root, model):
        advice = advise_on_missing_source(build.root, model.source, build.later_hooks)
        raise SourceError(f"no such file; {advice}", path=build.root / model.source)
    return ship_source(build.root, model)


def _prepare_packed_file(build: Build, model: Model) -> PreparedModel:
    """Pack the source, unless it is missing or the packed file is current."""
    root = build.root
    source, target = root / model.source, root / model.target
    # A killed build leaves temporary files, which a build that packs nothing would not remove.
    remove_leftovers(target, get_scratch_folder(target))
    _check_location(root, target)
    model = _read_importance(root, model)
    if not has_source(root, model):
        return _use_packed_file(build, model)
    check_target(source, target)
    source_paths = [*list_source_paths(root, model), *list_folder_paths(root, model)]
    if is_current(target, source, model.options):
        message = f"reused, because {model.source} and the options are unchanged"
        return ship_packed_file(root, model, message, source_paths)
    return _pack_source(root, model, source_paths)


def _check_location(root: Path, target: Path) -> None:
    if not target.parent.resolve().is_relative_to(root.resolve()):
        raise TargetError("outside the project, because a symbolic link leads there", path=target)


def _read_importance(root: Path, model: Model) -> Model:
    """Return the model with the factors of `importance` in place of the path of their file.

    Without a source the file is not needed, and an sdist may lack it; then the path is kept.
    """
    goal = model.options.goal
    path = goal.importance if isinstance(goal, Size) else None
    is_missing = isinstance(path, str) and not is_file(root / path)
    if is_missing and not has_source(root, model):
        return model
    return replace(model, options=model.options.with_importance_read(root))


def _pack_source(root: Path, model: Model, source_paths: list[str]) -> PreparedModel:
    target = root / model.target
    scratch = get_scratch_folder(target)
    rollback = Rollback(target, scratch)
    try:
        packed = pack_with(root / model.source, target, model.options, scratch=scratch)
    except BaseException:
        rollback.restore()
        rollback.release()
        raise
    rollback.mark_written()
    message = f"{describe(packed.manifest, packed.size)}, {packed.seconds:.1f} s"
    warnings = [f"vggq: {model.source}: {remark}" for remark in packed.remarks]
    prepared = ship_packed_file(root, model, message, source_paths)
    advice = advise_on_accuracy(packed.manifest)
    return replace(prepared, warnings=warnings, rollback=rollback, advice=advice)


def _use_packed_file(build: Build, model: Model) -> PreparedModel:
    """Verify and ship the packed file, because the source is not in this tree."""
    root, target = build.root, build.root / model.target
    if not target.is_file():
        advice = advise_on_missing_source(
            root, model.source, build.later_hooks, "commit the packed file"
        )
        raise SourceError(
            f"no such file, and no packed file {model.target} to use instead; {advice}",
            path=root / model.source,
        )
    _verify_packed_file(target, model)
    message = f"using the packed file: {model.source} is not in this tree"
    prepared = ship_packed_file(root, model, message, [model.source])
    # An sdist does not contain the source. In any other tree, its path may be misspelled.
    if is_unpacked_sdist(root):
        return prepared
    problem = describe_pattern(root, model.source) or (
        f"{model.target} may have been packed from other weights"
    )
    return replace(prepared, warnings=[f"vggq: {model.source}: no such file; {problem}"])


def _verify_packed_file(target: Path, model: Model) -> None:
    """Check that a packed file has the options of the configuration, and is not damaged.

    Raises:
        OptionError: the file was packed with other options.
        FormatError: the file is not valid.

    """
    with vggq.open(target) as weights:
        packed = flat_options(recorded_options(weights.manifest).to_record())
        requested = flat_options(model.options.to_record())
        for name in packed.keys() & OPTIONALLY_RECORDED.keys():
            requested.setdefault(name, OPTIONALLY_RECORDED[name])
        problems = [
            (
                name,
                _describe_difference(model, packed.get(name), value),
            )
            for name, value in requested.items()
            # The path of a missing file says nothing about the factors in it.
            if packed.get(name) != value and not (name == "importance" and isinstance(value, str))
        ]
        if problems:
            raise OptionError(problems)
        verify(weights)


def _describe_difference(model: Model, packed: object, requested: object) -> str:
    found = "without it" if packed is None else f"with {packed!r}"
    expected = "without it" if requested is None else repr(requested)
    return (
        f"{model.target} was packed {found} instead of {expected}, and {model.source} "
        "is not in this tree to pack it again"
    )
