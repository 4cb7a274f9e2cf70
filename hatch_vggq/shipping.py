"""Tell before packing whether the files of a model will ship, and suggest a path that would."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from .words import join_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from .config import Model
    from .placement import Placement

_LISTED_FOLDERS: Final = 3


@dataclass(frozen=True, slots=True)
class Shipping:
    """The artifacts that have to contain the models of a package.

    Attributes:
        root: the project's root.
        models: the models.
        placements: the places of files in each artifact, by hatchling's name of its kind.
        moved: in an unpacked sdist, the configured path of each target that has another path there.

    """

    root: Path
    models: Sequence[Model]
    placements: Mapping[str, Placement]
    moved: Mapping[str, str] = field(default_factory=dict)

    def find_problems(self) -> Iterator[str]:
        """Yield a line for each model of which an artifact would not contain the file."""
        for model in self.models:
            for kind in self.placements:
                name = "source" if kind == "sdist" and model.sdist == "source" else "target"
                path = getattr(model, name)
                if reason := self.explain_absence(path, kind):
                    yield f"{model.key}.{name}: {path} would not ship: {reason}"
                    break

    def explain_absence(self, path: str, kind: str) -> str | None:
        """Return why an artifact does not contain a file, and what to do; None if it does."""
        placement = self.placements[kind]
        if placement.find_names(path):
            return None
        selected = placement.list_selected()
        if path in self.moved:
            return (
                f"the {kind} is built from {_name(selected)}, but the sdist has "
                f"{self.moved[path]} as {path}; write `packages` and `sources` below "
                f"tool.hatch.build.targets.{kind}, so that they do not change the sdist"
            )
        problem = "hatchling leaves out its folder"
        if selected:
            problem = f"the {kind} contains only {_name(selected)}"
        return f"{problem}; {self._advise(path, kind)}"

    def _advise(self, path: str, kind: str) -> str:
        is_target = path in {model.target for model in self.models}
        suggestion = self._suggest_target(path) if is_target else None
        advice = f'write target = "{suggestion}"' if suggestion else ""
        if other := self._find_table_of_same_source(path, kind):
            move = f"{other.key} already packs {other.source}; move the options of this table there"
            return f"{move}, or {advice}" if advice else move
        if advice:
            return advice
        return f"list it in tool.hatch.build.targets.{kind}.force-include"

    def _find_table_of_same_source(self, target: str, kind: str) -> Model | None:
        """Return a model with the source of that of a target, and a target that ships."""
        sources = {model.source for model in self.models if model.target == target}
        for model in self.models:
            if model.source in sources and self.placements[kind].find_names(model.target):
                return model
        return None

    def _suggest_target(self, path: str) -> str | None:
        taken = {model.target for model in self.models}
        for candidate in self._list_candidates(PurePosixPath(path)):
            ships = all(placement.find_names(candidate) for placement in self.placements.values())
            if ships and candidate not in taken:
                return candidate
        return None

    def _list_candidates(self, path: PurePosixPath) -> Iterator[str]:
        """Yield paths for the file in folders that ship, first in those with similar names."""
        selected = {f: None for p in self.placements.values() for f in p.list_selected()}
        folders = [PurePosixPath(f) for f in selected if not (self.root / f).is_file()]
        parents = path.parent.parts
        for folder, start in product(folders, range(len(parents))):
            candidate = folder.joinpath(*path.parts[start:])
            if (self.root / candidate).parent.is_dir():
                yield candidate.as_posix()
        for folder in folders:
            if folder.name in parents:
                below = path.parts[parents.index(folder.name) + 1 :]
                yield folder.joinpath(*below).as_posix()
        for folder in folders:
            yield (self._find_package(folder) / path.name).as_posix()

    def _find_package(self, folder: PurePosixPath) -> PurePosixPath:
        """Return the first package in a folder, or the folder if it has none or is one."""
        inits = sorted((self.root / folder).glob("*/__init__.py"))
        if not inits or (self.root / folder / "__init__.py").is_file():
            return folder
        return folder / inits[0].parent.name


def _name(selected: Sequence[str]) -> str:
    return join_words(
        [*selected[:_LISTED_FOLDERS], *(["more"] if selected[_LISTED_FOLDERS:] else [])]
    )
