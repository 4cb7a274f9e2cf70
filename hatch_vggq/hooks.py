"""The hook that hatchling calls, and the only module that imports hatchling.

It is instantiated just to be asked for its dependencies, in environments that have none of them
yet: everything else is imported when it is needed.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.plugin import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .build import Prepared
    from .config import Config


class VggqBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Packs the models of ``[[tool.hatch.build.hooks.vggq.models]]`` while a package is built."""

    PLUGIN_NAME = "vggq"

    @cached_property
    def _prepared(self) -> dict[str, Prepared]:
        """What became of each model, by its target: a build that fails undoes it."""
        return {}

    def dependencies(self) -> list[str]:
        """What the build needs beyond hatch-vggq itself: nothing where nothing is packed."""
        from .build import requirements  # noqa: PLC0415

        with self._aborting():
            return requirements(Path(self.root), self._parse().models)

    def clean(self, versions: list[str]) -> None:  # noqa: ARG002
        """Remove the packed files that the hook wrote and can write again."""
        from .build import remove  # noqa: PLC0415

        with self._aborting():
            for model in self._parse().models:
                remove(Path(self.root), model)

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Pack what has to be packed, ship it, and keep the raw weights out of the archive."""
        from .build import prepare  # noqa: PLC0415

        with self._aborting():
            config = self._parse()
            self._check_dependencies(config)
            for model in config.models:
                prepared = prepare(Path(self.root), model, self.target_name)
                self._prepared[model.target] = prepared
                self.app.display_info(prepared.message)
                for warning in prepared.warnings:
                    self.app.display_warning(warning)
                build_data["artifacts"].extend(prepared.patterns)
                self.build_config.build_reserved_paths.update(
                    map(self.build_config.get_distribution_path, prepared.withheld)
                )
            if config.sbom and self.target_name == "wheel" and version != "editable":
                self._describe(build_data)

    def _describe(self, build_data: dict[str, Any]) -> None:
        """Add a bill of materials of the models to the wheel."""
        from .sbom import NAME, Package, render  # noqa: PLC0415

        if "sbom_files" not in build_data:
            self.app.display_warning(
                'vggq: this hatchling puts no SBOM into a wheel: require "hatchling>=1.28", '
                "or set sbom = false"
            )
            return
        package = Package(self.metadata.core.name, self.metadata.version)
        models = [
            (self._shipped_as(target), Path(self.root, target), prepared.sha256)
            for target, prepared in self._prepared.items()
        ]
        file = Path(self._folder.name, NAME)
        file.write_bytes(render(package, models))
        build_data["sbom_files"].append(str(file))

    @cached_property
    def _folder(self) -> TemporaryDirectory[str]:
        """Outside the tree, which need not be writable; it goes when this object goes."""
        return TemporaryDirectory(prefix="vggq-")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Check the finished archive, and remove it where it must not be published."""
        from . import verify_artifact  # noqa: PLC0415

        if self.target_name not in ("wheel", "sdist") or version == "editable":
            return
        artifact = Path(artifact_path)
        self._folder.cleanup()
        with self._aborting():
            config = self._parse()
            digests = {target: prepared.sha256 for target, prepared in self._prepared.items()}
            verify_artifact.check(
                Path(self.root), config, artifact, digests, shipped_as=self._shipped_as
            )
            if warning := verify_artifact.find_warning(config, artifact):
                self.app.display_warning(warning)
        self._let_go()

    def _shipped_as(self, path: str) -> str:
        wheel = self.target_name == "wheel"
        return self.build_config.get_distribution_path(path) if wheel else path

    def _check_dependencies(self, config: Config) -> None:
        from .dependencies import check  # noqa: PLC0415

        # What a metadata hook fills in is whatever that hook's author wants.
        if "dependencies" not in self.metadata.dynamic:
            check(Path(self.root), config.models, self.metadata.core.dependencies)

    def _parse(self) -> Config:
        from .config import parse  # noqa: PLC0415

        return parse(self.config)

    @contextmanager
    def _aborting(self) -> Iterator[None]:
        from vggq.errors import VggqError  # noqa: PLC0415

        from .config import ConfigurationError  # noqa: PLC0415

        try:
            yield
        except (ConfigurationError, VggqError) as error:
            for prepared in self._prepared.values():
                if prepared.undo:
                    prepared.undo.back()
            self._let_go()
            # A raised exception would come out as a traceback under every front end.
            self.app.abort(str(error))

    def _let_go(self) -> None:
        for prepared in self._prepared.values():
            if prepared.undo:
                prepared.undo.close()


@hookimpl
def hatch_register_build_hook() -> type[BuildHookInterface]:  # type: ignore[type-arg]
    """Entry point of the ``hatch`` group."""
    return VggqBuildHook
