"""The build hook that hatchling calls.

hatchling also creates the hook just to ask for its dependencies, in environments where these are
not installed yet. Everything else is therefore imported only when it is needed.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.plugin import hookimpl

if TYPE_CHECKING:
    from .session import BuildSession


class VggqBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Pack the models of ``[[tool.hatch.build.hooks.vggq.models]]`` while a package is built."""

    PLUGIN_NAME = "vggq"

    def dependencies(self) -> list[str]:
        """Return the requirements of the build; none if nothing has to be packed."""
        return self._session.list_requirements()

    def clean(self, versions: list[str]) -> None:
        """Remove the packed files that the hook has written and can write again."""
        del versions  # All versions of a target contain the same packed files.
        self._session.clean()

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Pack the models, and choose which of their files the artifact contains."""
        self._session.prepare(version, build_data)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Verify the finished artifact, and delete it if it must not be published."""
        self._session.verify(version, build_data, Path(artifact_path))

    @cached_property
    def _session(self) -> BuildSession:
        try:
            from .session import BuildSession  # noqa: PLC0415
        except ImportError as error:
            # Front ends show any other exception with its traceback.
            message = f"vggq: {error}; install hatch-vggq and its dependencies again"
            raise SystemExit(message) from error
        return BuildSession(self)


@hookimpl
def hatch_register_build_hook() -> type[BuildHookInterface]:  # type: ignore[type-arg]
    """Return the hook class; entry point of the group ``hatch``."""
    return VggqBuildHook
