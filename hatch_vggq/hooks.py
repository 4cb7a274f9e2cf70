"""The hook that hatchling calls, and the only module that imports hatchling.

It is instantiated just to be asked for its dependencies, in environments that have none of them
yet: everything else is imported when it is needed.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.plugin import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator


class VggqBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Packs the models of ``[[tool.hatch.build.hooks.vggq.models]]`` while a package is built."""

    PLUGIN_NAME = "vggq"

    def dependencies(self) -> list[str]:
        """What the build needs beyond hatch-vggq itself: nothing where nothing is packed."""
        from .config import parse  # noqa: PLC0415
        from .plugin import requirements  # noqa: PLC0415

        with self._aborting():
            return requirements(Path(self.root), parse(self.config))

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Pack what has to be packed, ship it, and keep the raw weights out of the archive."""
        from .config import parse  # noqa: PLC0415
        from .plugin import provide  # noqa: PLC0415

        with self._aborting():
            for model in parse(self.config):
                self.app.display_info(provide(Path(self.root), model))
                build_data["artifacts"].append(f"/{model.target}")
                raw = self.build_config.get_distribution_path(model.source)
                self.build_config.build_reserved_paths.add(raw)

    @contextmanager
    def _aborting(self) -> Iterator[None]:
        from .config import ConfigurationError  # noqa: PLC0415

        try:
            yield
        except ConfigurationError as error:
            # A raised exception would come out as a traceback under every front end.
            self.app.abort(str(error))


@hookimpl
def hatch_register_build_hook() -> type[BuildHookInterface]:  # type: ignore[type-arg]
    """Entry point of the ``hatch`` group."""
    return VggqBuildHook
