"""The build hook that hatchling calls; the only module that imports hatchling.

hatchling also creates the hook just to ask for its dependencies, in environments where these are
not installed yet. Everything else is therefore imported only when it is needed.
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

    from .config import Config, Model
    from .prepared_model import PreparedModel


class VggqBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Pack the models of ``[[tool.hatch.build.hooks.vggq.models]]`` while a package is built."""

    PLUGIN_NAME = "vggq"

    @cached_property
    def _prepared(self) -> dict[str, PreparedModel]:
        """The models of this build, by target."""
        return {}

    @cached_property
    def _temporary_folder(self) -> TemporaryDirectory[str]:
        """A folder outside the project, because the project may be read-only."""
        return TemporaryDirectory(prefix="vggq-")

    def dependencies(self) -> list[str]:
        """Return the requirements of the build; none if nothing has to be packed."""
        from .requirements import list_requirements  # noqa: PLC0415

        with self._abort_on_error():
            return list_requirements(Path(self.root), self._parse_config().models)

    def clean(self, versions: list[str]) -> None:  # noqa: ARG002
        """Remove the packed files that the hook has written and can write again."""
        from .model_files import remove_packed_file  # noqa: PLC0415

        with self._abort_on_error():
            for model in self._parse_config().models:
                remove_packed_file(Path(self.root), model)

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Pack the models, and choose which of their files the artifact contains."""
        with self._abort_on_error():
            config = self._parse_config()
            self._check_dependencies(config)
            for model in config.models:
                self._prepare(model, build_data)
            if config.sbom and self.target_name == "wheel" and version != "editable":
                self._add_sbom(build_data)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Verify the finished artifact, and delete it if it must not be published."""
        from .artifact import find_size_warning, verify_artifact  # noqa: PLC0415

        if self.target_name not in ("wheel", "sdist") or version == "editable":
            return
        artifact = Path(artifact_path)
        self._temporary_folder.cleanup()
        with self._abort_on_error():
            config = self._parse_config()
            digests = {target: prepared.sha256 for target, prepared in self._prepared.items()}
            verify_artifact(
                Path(self.root), config, artifact, digests, path_in_artifact=self._path_in_artifact
            )
            if warning := find_size_warning(config, artifact):
                self.app.display_warning(warning)
        self._release_rollbacks()

    def _parse_config(self) -> Config:
        from .config import parse_config  # noqa: PLC0415

        return parse_config(self.config)

    def _check_dependencies(self, config: Config) -> None:
        from .dependencies import check_dependencies  # noqa: PLC0415

        # A metadata hook of the project fills in dynamic dependencies; they are not known here.
        if "dependencies" not in self.metadata.dynamic:
            check_dependencies(Path(self.root), config.models, self.metadata.core.dependencies)

    def _prepare(self, model: Model, build_data: dict[str, Any]) -> None:
        from .build import prepare_model  # noqa: PLC0415

        prepared = prepare_model(Path(self.root), model, self.target_name)
        self._prepared[model.target] = prepared
        self.app.display_info(prepared.message)
        for warning in prepared.warnings:
            self.app.display_warning(warning)
        build_data["artifacts"].extend(prepared.artifact_patterns)
        self.build_config.build_reserved_paths.update(
            map(self.build_config.get_distribution_path, prepared.excluded_paths)
        )

    def _add_sbom(self, build_data: dict[str, Any]) -> None:
        from .sbom import SBOM_NAME, Package, ShippedModel, render_sbom  # noqa: PLC0415

        if "sbom_files" not in build_data:
            self.app.display_warning(
                "vggq: this version of hatchling cannot add an SBOM to a wheel; require "
                '"hatchling>=1.28", or set sbom = false'
            )
            return
        package = Package(self.metadata.core.name, self.metadata.version)
        models = [
            ShippedModel(self._path_in_artifact(target), Path(self.root, target), prepared.sha256)
            for target, prepared in self._prepared.items()
        ]
        file = Path(self._temporary_folder.name, SBOM_NAME)
        file.write_bytes(render_sbom(package, models))
        build_data["sbom_files"].append(str(file))

    def _path_in_artifact(self, path: str) -> str:
        """Return the path in the artifact of a file of the project."""
        is_wheel = self.target_name == "wheel"
        return self.build_config.get_distribution_path(path) if is_wheel else path

    @contextmanager
    def _abort_on_error(self) -> Iterator[None]:
        """Turn an error into a message, after restoring the packed files of before the build."""
        from vggq.errors import VggqError  # noqa: PLC0415

        from .messages import BuildError  # noqa: PLC0415

        try:
            yield
        except (BuildError, VggqError) as error:
            self._restore_packed_files()
            root = Path(self.root)
            # Front ends show a raised exception with its traceback.
            self.app.abort(error.render(root) if isinstance(error, VggqError) else str(error))

    def _restore_packed_files(self) -> None:
        for prepared in self._prepared.values():
            if prepared.rollback:
                prepared.rollback.restore()
        self._release_rollbacks()

    def _release_rollbacks(self) -> None:
        for prepared in self._prepared.values():
            if prepared.rollback:
                prepared.rollback.release()


@hookimpl
def hatch_register_build_hook() -> type[BuildHookInterface]:  # type: ignore[type-arg]
    """Return the hook class; entry point of the group ``hatch``."""
    return VggqBuildHook
