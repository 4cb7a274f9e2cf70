"""The build of an artifact, from the configuration to the verified archive."""

from __future__ import annotations

import weakref
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from .abort import AbortOnError
from .artifact import Expectation, find_size_warning, verify_artifact
from .build import Build, prepare_model
from .config import parse_config
from .dependencies import check_dependencies
from .messages import BuildError
from .model_files import is_unpacked_sdist, remove_packed_file
from .moved_files import find_moved_model
from .project import Project
from .requirements import list_requirements
from .sbom import SBOM_NAME, ShippedModel, render_sbom
from .shipping import Shipping
from .transaction import Transaction

if TYPE_CHECKING:
    from pathlib import Path

    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    from .config import Config, Model
    from .placement import Placement
    from .prepared_model import PreparedModel

_VERIFIED_KINDS: Final = ("wheel", "sdist")


class BuildSession:
    """The work of a build hook.

    Args:
        hook: the hook that hatchling calls.

    """

    def __init__(self, hook: BuildHookInterface[Any]) -> None:
        self._app = hook.app
        self._project = Project(hook)
        self._root = self._project.root
        self._kind = hook.target_name
        self._raw_config = hook.config
        self._prepared: dict[str, PreparedModel] = {}
        self._transaction = Transaction(hook.build_config.build_reserved_paths)
        # Nobody tells a hook that hatchling or another hook has failed.
        weakref.finalize(hook, self._transaction.abandon)

    def list_requirements(self) -> list[str]:
        """Return the requirements of the build."""
        with self._abort_on_error():
            made_by_hook = bool(self._project.earlier_hooks)
            return list_requirements(self._root, self._config.models, made_by_hook=made_by_hook)

    def clean(self) -> None:
        """Remove the packed files that the hook has written and can write again."""
        with self._abort_on_error():
            for model in self._config.models:
                remove_packed_file(self._root, model)

    def prepare(self, version: str, build_data: dict[str, Any]) -> None:
        """Pack the models, and choose which of their files the artifact contains."""
        with self._abort_on_error():
            self._transaction.begin()
            placement = self._find_placement(version, build_data)
            self._check_project(placement, is_verified=self._is_verified(version))
            for model in self._config.models:
                self._prepare_model(model, build_data, placement)
            for advice in dict.fromkeys(p.advice for p in self._prepared.values() if p.advice):
                self._app.display_info(f"vggq: {advice}")
            is_wheel = self._kind == "wheel" and self._is_verified(version)
            if placement and is_wheel and self._config.sbom:
                self._add_sbom(build_data, placement)

    def verify(self, version: str, build_data: dict[str, Any], artifact: Path) -> None:
        """Verify the finished artifact, and delete it if it must not be published."""
        if self._is_verified(version):
            with self._abort_on_error(artifact):
                placement = self._project.get_placement(build_data)
                verify_artifact(artifact, self._expect(placement))
                if warning := find_size_warning(self._config, artifact):
                    self._app.display_warning(warning)
        self._transaction.commit()

    @cached_property
    def _config(self) -> Config:
        config = self._configured
        placement = self._project.get_sdist_placement() if is_unpacked_sdist(self._root) else None
        if placement is None:
            return config
        models = (find_moved_model(self._root, model, placement) for model in config.models)
        return replace(config, models=tuple(models))

    @cached_property
    def _configured(self) -> Config:
        return parse_config(self._raw_config)

    def _is_verified(self, version: str) -> bool:
        """Return whether somebody may publish the artifact."""
        return self._kind in _VERIFIED_KINDS and version != "editable"

    def _find_placement(self, version: str, build_data: dict[str, Any]) -> Placement | None:
        """Return the places of files in the artifact; None if nobody needs to know them."""
        try:
            return self._project.get_placement(build_data)
        except BuildError:
            # An editable wheel can be built with settings that a wheel cannot be built with.
            if self._is_verified(version):
                raise
            return None

    def _check_project(self, placement: Placement | None, *, is_verified: bool) -> None:
        """Report before packing what would make the build fail later."""
        models, metadata = self._config.models, self._project.metadata
        folders = self._project.list_package_folders(placement)
        for warning in check_dependencies(self._root, models, metadata, folders):
            self._app.display_warning(warning)
        # A later hook can still add files to the artifact.
        if placement and is_verified and not self._project.later_hooks:
            self._check_shipping(placement)

    def _check_shipping(self, placement: Placement) -> None:
        placements = {self._kind: placement}
        if self._kind == "sdist" and (wheel := self._project.get_wheel_placement()):
            placements["wheel"] = wheel
        if problems := list(self._describe_shipping(placements).find_problems()):
            raise BuildError(problems)

    def _describe_shipping(self, placements: dict[str, Placement]) -> Shipping:
        pairs = zip(self._config.models, self._configured.models, strict=True)
        moved = {m.target: original.target for m, original in pairs if m != original}
        return Shipping(self._root, self._config.models, placements, moved)

    def _prepare_model(
        self, model: Model, build_data: dict[str, Any], placement: Placement | None
    ) -> None:
        build = Build(self._root, self._kind, self._config.models, self._project.later_hooks)
        prepared = prepare_model(build, model)
        self._prepared[model.target] = prepared
        if prepared.rollback:
            self._transaction.add(prepared.rollback)
        self._app.display_info(prepared.message)
        for warning in prepared.warnings:
            self._app.display_warning(warning)
        if placement:
            self._project.ship(prepared.shipped_paths, build_data, placement)
            self._project.leave_out(prepared.excluded_paths, placement)

    def _add_sbom(self, build_data: dict[str, Any], placement: Placement) -> None:
        if "sbom_files" not in build_data:
            self._app.display_warning(
                "vggq: this version of hatchling cannot add an SBOM to a wheel; require "
                '"hatchling>=1.28", or set sbom = false'
            )
            return
        models = [
            ShippedModel(name, self._root / target, prepared.packed.sha256)
            for target, prepared in self._prepared.items()
            if prepared.packed
            for name in placement.find_names(target)[:1] or [target]
        ]
        file = self._transaction.temporary_folder / SBOM_NAME
        file.write_bytes(render_sbom(self._project.package, models))
        build_data["sbom_files"].append(str(file))

    def _expect(self, placement: Placement) -> Expectation:
        shipping = self._describe_shipping({self._kind: placement})
        return Expectation(
            root=self._root,
            config=self._config,
            target_name=self._kind,
            prepared={t: p.packed for t, p in self._prepared.items() if p.packed},
            find_names=placement.find_names,
            explain_absence=lambda path: shipping.explain_absence(path, self._kind),
        )

    def _abort_on_error(self, artifact: Path | None = None) -> AbortOnError:
        return AbortOnError(self._app, self._root, self._transaction, artifact)
