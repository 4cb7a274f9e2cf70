"""Predict where hatchling places a file of the project in an artifact.

hatchling finds the files to ship by walking through folders. The hook has to know what will ship
before it packs, when the file does not exist yet. This module therefore applies the rules of
hatchling's `BuilderInterface.recurse_included_files`, and those of its wheels, to a path.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchling.builders.constants import EXCLUDED_DIRECTORIES
from hatchling.builders.utils import normalize_inclusion_map
from hatchling.builders.wheel import WheelBuilder

from .messages import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hatchling.builders.config import BuilderConfig
    from hatchling.builders.plugin.interface import BuilderInterface

    AnyBuilder = BuilderInterface[Any, Any]


@dataclass(frozen=True, slots=True)
class _Inclusion:
    """A file or a folder that ships.

    Attributes:
        source: the absolute path.
        path: the path that replaces `source` before hatchling applies the setting `sources`.
        prefix: the folder in the artifact for all paths, with a slash at its end.
        kind: "selected" by the settings that choose files, "walked" for the whole project, "forced"
            for `force-include`, "extra" for the other folders of a wheel.

    """

    source: Path
    path: Path
    kind: str
    prefix: str = ""

    def locate(self, file: Path) -> Path | None:
        """Return the path of a file before `sources` is applied; None if it does not ship."""
        if not file.is_relative_to(self.source):
            return None
        below = file.relative_to(self.source)
        return None if EXCLUDED_DIRECTORIES & {*below.parts[:-1]} else self.path / below


class Placement:
    """The places of files in an artifact.

    Args:
        builder: hatchling's builder of the artifact.
        build_data: what build hooks have added to the build.

    Raises:
        BuildError: hatchling's settings are wrong.

    """

    def __init__(self, builder: AnyBuilder, build_data: Mapping[str, Any]) -> None:
        self._root = Path(builder.root)
        self._config = builder.config
        with _applied(self._config, build_data):
            self._inclusions = list(_list_inclusions(builder, build_data))
            self._reserved = set(self._config.build_reserved_paths)
            # hatchling evaluates its settings once; they depend on the data of the build.
            self._config.get_distribution_path("")

    def find_names(self, path: str) -> list[str]:
        """Return the names that a file of the project will have in the artifact.

        The list is empty if the file will not ship. The settings `include`, `exclude` and
        `only-packages` are ignored, because they do not concern artifacts of the build.
        """
        return [
            inclusion.prefix + Path(self._distribution_path(located)).as_posix()
            for inclusion, located in self._locate(path)
        ]

    def find_artifact_paths(self, path: str) -> list[str]:
        """Return the paths by which hatchling decides whether a file is an artifact."""
        found = [located for inclusion, located in self._locate(path) if inclusion.kind != "forced"]
        return [located.as_posix() for located in found]

    def find_reserved_paths(self, path: str) -> list[str]:
        """Return the paths to reserve so that a file of the project does not ship."""
        return [self._distribution_path(located) for _, located in self._locate(path)]

    def list_selected(self) -> list[str]:
        """Return the files and folders that the settings select, relative to the project."""
        return [
            inclusion.source.relative_to(self._root).as_posix()
            for inclusion in self._inclusions
            if inclusion.kind == "selected"
        ]

    def _locate(self, path: str) -> Iterator[tuple[_Inclusion, Path]]:
        file = Path(os.path.normpath(self._root / path))
        for inclusion in self._inclusions:
            located = inclusion.locate(file)
            if located is None or (inclusion.kind == "walked" and self._is_skipped(located)):
                continue
            # hatchling does not ask whether the place of a single forced file is reserved.
            is_exempt = inclusion.kind == "forced" and file == inclusion.source
            if is_exempt or self._distribution_path(located) not in self._reserved:
                yield inclusion, located

    def _is_skipped(self, path: Path) -> bool:
        """Return whether hatchling leaves out one of a file's folders."""
        *folders, top = path.parents
        return any(
            str(folder) in self._reserved
            or self._config.directory_is_excluded(
                folder.name, "" if folder.parent == top else str(folder.parent)
            )
            for folder in folders
        )

    def _distribution_path(self, path: Path) -> str:
        return str(self._config.get_distribution_path(str(path)))


def default_build_data(builder: AnyBuilder) -> dict[str, Any]:
    """Return the data of a build to which no hook has added anything."""
    build_data = builder.get_default_build_data()
    builder.set_build_data_defaults(build_data)
    return build_data


@contextmanager
def _applied(config: BuilderConfig, build_data: Mapping[str, Any]) -> Iterator[None]:
    """Apply the data of a build to a configuration, as hatchling does while it builds."""
    reserved, forced = set(config.build_reserved_paths), dict(config.build_force_include)
    try:
        with config.set_build_data({"artifacts": [], "force_include": {}, **build_data}):
            config.build_reserved_paths.update(reserved)
            yield
    except (TypeError, ValueError) as error:
        # hatchling raises these for wrong settings, with a message for the user.
        raise BuildError([str(error)]) from error
    finally:
        config.build_reserved_paths.update(reserved)
        config.build_force_include.update(forced)


def _list_inclusions(builder: AnyBuilder, build_data: Mapping[str, Any]) -> Iterator[_Inclusion]:
    config = builder.config
    for source, path in config.get_force_include().items():
        yield _Inclusion(Path(source), Path(path), "forced")
    for source, path in config.only_include.items():
        yield _Inclusion(Path(source), Path(path), "selected")
    if not config.only_include:
        yield _Inclusion(Path(builder.root), Path(), "walked")
    if isinstance(builder, WheelBuilder):
        yield from _list_wheel_inclusions(builder, build_data)


def _list_wheel_inclusions(
    builder: WheelBuilder, build_data: Mapping[str, Any]
) -> Iterator[_Inclusion]:
    project = builder.artifact_project_id
    for option, prefix in (
        ("shared_data", f"{project}.data/data/"),
        ("shared_scripts", f"{project}.data/scripts/"),
        ("extra_metadata", f"{project}.dist-info/extra_metadata/"),
    ):
        added = normalize_inclusion_map(build_data.get(option, {}), builder.root)
        for source, path in (getattr(builder.config, option) | added).items():
            yield _Inclusion(Path(source), Path(path), "extra", prefix)
