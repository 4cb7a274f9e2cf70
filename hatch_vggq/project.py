"""The project that is built, as hatchling knows it."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from .dependencies import Metadata
from .messages import BuildError
from .placement import Placement, default_build_data
from .sbom import Package

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    from .placement import AnyBuilder

_BUILDERS: Final = {"wheel": WheelBuilder, "sdist": SdistBuilder}


class Project:
    """The project, as a build hook sees it.

    Args:
        hook: the hook of the build.

    """

    def __init__(self, hook: BuildHookInterface[Any]) -> None:
        self._hook = hook
        self.root = Path(hook.root)
        self.target_name = hook.target_name

    @cached_property
    def earlier_hooks(self) -> Sequence[str]:
        """The names of the build hooks that run before this one."""
        return self._hook_names[: self._hook_names.index(self._hook.PLUGIN_NAME)]

    @cached_property
    def later_hooks(self) -> Sequence[str]:
        """The names of the build hooks that run after this one."""
        return self._hook_names[len(self.earlier_hooks) + 1 :]

    @cached_property
    def metadata(self) -> Metadata:
        """The metadata that decides where the package can restore its weights."""
        metadata = self._hook.metadata
        # A metadata hook of the project fills in dynamic fields; they are not known here.
        dynamic = metadata.dynamic
        return Metadata(
            None if "dependencies" in dynamic else metadata.core.dependencies,
            "" if "requires-python" in dynamic else metadata.core.requires_python,
        )

    @cached_property
    def package(self) -> Package:
        """The name and version of the package."""
        return Package(self._hook.metadata.core.name, self._hook.metadata.version)

    def get_placement(self, build_data: Mapping[str, Any]) -> Placement:
        """Return the places of files in the artifact of this build.

        Raises:
            BuildError: hatchling's settings are wrong.

        """
        if self.later_hooks:
            # Without artifacts, hatchling may reject a project whose files a later hook adds.
            build_data = {**build_data, "artifacts": [*build_data["artifacts"], "/.vggq"]}
        return Placement(self._hook.build_config.builder, build_data)

    def ship(self, paths: Iterable[str], build_data: dict[str, Any], placement: Placement) -> None:
        """Ship files although Git ignores them."""
        for path in paths:
            patterns = map(
                _exact_pattern, {path: None, **dict.fromkeys(placement.find_artifact_paths(path))}
            )
            build_data["artifacts"].extend(patterns)

    def leave_out(self, paths: Iterable[str], placement: Placement) -> None:
        """Leave files out of the artifact."""
        for path in paths:
            reserved = placement.find_reserved_paths(path)
            self._hook.build_config.build_reserved_paths.update(reserved)

    def get_wheel_placement(self) -> Placement | None:
        """Return the places of files in the wheel, while an sdist is built.

        They are not known if other hooks may change them, and do not matter if the wheel does not
        have the same models.
        """
        builder = self._create_builder("wheel")
        if builder.config.hook_config != {self._hook.PLUGIN_NAME: self._hook.config}:
            return None
        return _place(builder)

    def get_sdist_placement(self) -> Placement | None:
        """Return the places of files in the sdist; None if hatchling's settings are wrong."""
        return _place(self._create_builder("sdist"))

    def list_package_folders(self, placement: Placement | None) -> list[Path]:
        """Return the folders of the project that may contain its packages."""
        selected = [self.root / path for path in (placement.list_selected() if placement else [])]
        inits = sorted(self.root.glob("*/__init__.py"))
        return selected or [self.root / "src", *(init.parent for init in inits)]

    @cached_property
    def _hook_names(self) -> list[str]:
        return list(self._hook.build_config.hook_config)

    def _create_builder(self, kind: str) -> AnyBuilder:
        plugin_manager = self._hook.build_config.builder.plugin_manager
        return _BUILDERS[kind](
            self._hook.root, plugin_manager=plugin_manager, metadata=self._hook.metadata
        )


def _place(builder: AnyBuilder) -> Placement | None:
    try:
        return Placement(builder, default_build_data(builder))
    except BuildError:
        # The build of that artifact will report it.
        return None


def _exact_pattern(path: str) -> str:
    """Return the pattern, in the syntax of .gitignore, that matches this path alone."""
    return "/" + re.sub(r"([\\\[\]*?!# ])", r"\\\1", path)
