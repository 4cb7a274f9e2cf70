"""What the hook does, as plain functions over a project's root and its models."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from vggq import errors

from .config import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .config import Model
    from .rollback import Undo

_ALWAYS = ("kmeans1d>=0.4", "zstandard>=0.22")


def requirements(root: Path, models: Iterable[Model]) -> list[str]:
    """What has to be installed to pack; nothing for a model whose packed file is all there is."""
    wanted: set[str] = set()
    for model in models:
        # What is wrong with a source is said when it is packed, and not when this is asked.
        with suppress(errors.SourceError):
            if _has_source(root, model):
                wanted.update(_ALWAYS)
                wanted.update(_format_requirement(root / model.source))
    return sorted(wanted)


def _has_source(root: Path, model: Model) -> bool:
    """Whether a model's source is there.

    Raises:
        SourceError: the system does not tell.

    """
    try:
        (root / model.source).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise errors.SourceError(f"{model.source!r} cannot be read: {error.strerror}") from error
    return True


def _format_requirement(source: Path) -> list[str]:
    from vggq.packing.sources import identify  # noqa: PLC0415

    requirement = identify(source).requirement
    return [requirement] if requirement else []


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is to become of a model in the archive that is being built.

    Attributes:
        message: a line for whoever builds.
        patterns: of the files that are to ship though git ignores them, as hatchling wants them.
        withheld: the paths of those that are not.
        warnings: what of the source whoever builds has to know, a line each.
        sha256: of the packed file; empty where it is not what ships.
        undo: the way back, where this build wrote the packed file.

    """

    message: str
    patterns: list[str]
    withheld: list[str]
    warnings: list[str] = field(default_factory=list)
    sha256: str = ""
    undo: Undo | None = None


def prepare(root: Path, model: Model, build_target: str) -> Prepared:
    """Make a model ready for a wheel or an sdist.

    Raises:
        ConfigurationError: it cannot be; the lines name the keys.

    """
    if build_target == "sdist" and model.sdist == "source":
        paths = _check_source(root, model)
        message = f"vggq: {model.source}: shipped as it is, for builds from the floats"
        return Prepared(message, list(map(_pattern, paths)), [model.target])
    return _provide(root, model)


def _pattern(path: str) -> str:
    """The pattern, as of .gitignore, that matches this path alone."""
    return "/" + re.sub(r"([\\\[\]*?!# ])", r"\\\1", path)


def _provide(root: Path, model: Model) -> Prepared:
    """See that a model's packed file is there and is the right one.

    With the source at hand it is packed, unless the file already is what packing would give;
    without it, as in a wheel built from an sdist, the file is verified and used as it is.

    Raises:
        ConfigurationError: it cannot be had; the lines name the keys.

    """
    from vggq.packing import check_target, is_current  # noqa: PLC0415
    from vggq.packing.atomic_file import remove_leftovers  # noqa: PLC0415

    source, target = root / model.source, root / model.target
    # Of a build that was killed: one that has nothing to write would leave it there.
    remove_leftovers(target, _scratch(target))
    if not target.parent.resolve().is_relative_to(root.resolve()):
        raise ConfigurationError(
            [f"{model.key}.target: {model.target!r} leads out of the project through a link"]
        )
    try:
        model = _with_weights(root, model)
        if not _has_source(root, model):
            return _without_source(root, model)
        check_target(source, target)
        withheld = source_paths(root, model)
        if is_current(target, source, model.options):
            unchanged = f"reused, {model.source} and its options are unchanged"
            return _shipping(root, model, unchanged, withheld)
        return _pack(root, model, withheld)
    except errors.VggqError as error:
        raise ConfigurationError(_lines(root, model, error)) from error


def _with_weights(root: Path, model: Model) -> Model:
    """With what is in the file of `weights`, which an sdist need not carry.

    Raises:
        OptionError: it cannot be read and is needed, or it holds something else.

    """
    weights = model.options.weights
    is_path = _is_path("weights", weights)
    if is_path and not _has_source(root, model) and not _is_file(root / str(weights)):
        return model
    return replace(model, options=model.options.loaded(root))


def _is_file(path: Path) -> bool:
    # Unlike Path's, this is false where the system does not tell.
    return os.path.isfile(path)  # noqa: PTH113


def _is_path(key: str, value: object) -> bool:
    return key == "weights" and isinstance(value, str)


def _check_source(root: Path, model: Model) -> list[str]:
    """See that a model's source can be shipped instead, and give the paths of its files.

    Raises:
        ConfigurationError: there is none, or none that could be packed later.

    """
    try:
        return source_paths(root, model)
    except errors.VggqError as error:
        raise ConfigurationError(_lines(root, model, error)) from error


def source_paths(root: Path, model: Model) -> list[str]:
    """The paths of all files of a model's source, as the project has them; shards follow it.

    Raises:
        SourceError: it is not there, or too damaged to tell.

    """
    from vggq.packing.sources import files  # noqa: PLC0415

    folder = PurePath(model.source).parent
    source = root / model.source
    beside = [os.path.relpath(file, source.parent) for file in files(source)]
    return [(folder / path).as_posix() for path in beside]


def remove(root: Path, model: Model) -> None:
    """Remove the packed file and what an interrupted build left of it, where it can be made again.

    Without the source it cannot: then the hook did not write it, and it stays.
    """
    import vggq  # noqa: PLC0415
    from vggq.packing.atomic_file import remove_leftovers  # noqa: PLC0415

    target = root / model.target
    remove_leftovers(target, _scratch(target))
    if not _is_file(root / model.source) or not _is_file(target):
        return
    try:
        vggq.open(target).close()
    except errors.VggqError:
        return
    target.unlink()


def _shipping(root: Path, model: Model, what: str, withheld: list[str], **more: Any) -> Prepared:
    from vggq.packing.sources import file_digest  # noqa: PLC0415

    return Prepared(
        message=f"vggq: {model.target}: {what}",
        patterns=[_pattern(model.target)],
        withheld=withheld,
        sha256=file_digest(root / model.target),
        **more,
    )


def _pack(root: Path, model: Model, withheld: list[str]) -> Prepared:
    from vggq.packing import describe, pack  # noqa: PLC0415

    from .rollback import Undo  # noqa: PLC0415

    target = root / model.target
    scratch = _scratch(target)
    undo = Undo(target, scratch)
    try:
        options = model.options.to_table()
        packed = pack(root / model.source, target, **options, scratch=scratch)
    except BaseException:
        undo.close()
        raise
    undo.note()
    what = f"{describe(packed.manifest, packed.size)}, {packed.seconds:.1f} s"
    warnings = [f"vggq: {model.source}: {remark}" for remark in packed.remarks]
    return _shipping(root, model, what, withheld, warnings=warnings, undo=undo)


def _scratch(target: Path) -> Path:
    """A folder that no build ships: another one, at the same time, must not come upon our half."""
    return target.parent / "__pycache__"


def _without_source(root: Path, model: Model) -> Prepared:
    target = root / model.target
    if not target.is_file():
        raise errors.SourceError(
            f"{model.source}: no such file beside pyproject.toml, and no {model.target} that was "
            "packed before"
        )
    _pass_through(target, model)
    # An sdist has no source to find; anywhere else its name may be mistyped.
    stale = f"vggq: {model.source}: no such file: {model.target} may be of other weights"
    return _shipping(
        root,
        model,
        f"used as it is, there is no {model.source} to pack",
        [model.source],
        warnings=[] if (root / "PKG-INFO").is_file() else [stale],
    )


def _pass_through(target: Path, model: Model) -> None:
    import vggq  # noqa: PLC0415
    from vggq.packing import Options, verify  # noqa: PLC0415

    with vggq.open(target) as weights:
        packed = Options.from_table(weights.manifest.options).to_table()
        gone = f"and there is no {model.source} to pack anew"
        differing = [
            (key, f"{value!r} is asked for, {model.target} was packed with {packed[key]!r}, {gone}")
            for key, value in model.options.to_table().items()
            if packed[key] != value and not _is_path(key, value)
        ]
        if differing:
            raise errors.OptionError(differing)
        verify(weights)


def _lines(root: Path, model: Model, error: errors.VggqError) -> list[str]:
    if isinstance(error, errors.OptionError):
        return [f"{model.key}.{option}: {problem}" for option, problem in error.problems]
    keys = {errors.SourceError: ".source", errors.TargetError: ".target"}
    # The paths as they stand in the table, and not as this machine has them.
    message = str(error).replace(f"{root}{os.sep}", "")
    return [f"{model.key}{keys.get(type(error), '')}: {message}"]
