"""The libraries that a build needs to pack models."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from vggq.errors import OptionError, SourceError
from vggq.packing.sources import FORMATS
from vggq.packing.sources import list_requirements as list_readers

from .model_files import has_source, is_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from vggq.errors import MissingDependencyError

    from .config import Model

_PACKING: Final = ("kmeans1d>=0.4", "zstandard>=0.22")


def list_requirements(
    root: Path, models: Iterable[Model], *, made_by_hook: bool = False
) -> list[str]:
    """Return the requirements of packing.

    A model whose source is not in this tree has none: its packed file will be used.

    Args:
        root: the project's root.
        models: the models of the package.
        made_by_hook: whether an earlier hook of the build may make a source. Then a model without
            a packed file has requirements as well.

    """
    needed: set[str] = set()
    for model in models:
        # Problems with a source are reported later, when it is packed.
        with suppress(SourceError):
            if has_source(root, model) or (made_by_hook and not is_file(root / model.target)):
                needed |= _requirements_of(root, model)
    return sorted(needed)


def explain_missing_library(
    root: Path, model: Model, models: Iterable[Model], error: MissingDependencyError
) -> list[str]:
    """Return the lines of the error for a library that is missing in the build's environment."""
    problem, _, command = error.reason.partition(": ")
    needed = set().union(*(_requirements_of(root, other) for other in models))
    quoted = ", ".join(f'"{line}"' for line in sorted(needed))
    return [
        f"{model.key}: {problem}",
        (
            f"  in an isolated environment: add {quoted} to build-system.requires, because "
            f"{model.source} did not exist when the build began"
        ),
        f"  without build isolation: {command}",
    ]


def _requirements_of(root: Path, model: Model) -> set[str]:
    """Return the requirements of packing a model, whose source may not exist yet."""
    source = root / model.source
    readers: set[str] = set()
    if has_source(root, model):
        with suppress(OptionError, SourceError):
            readers = list_readers(source, model.options.read)
    else:
        formats = [fmt for fmt in FORMATS if source.name.lower().endswith(fmt.suffixes)]
        readers = {fmt.requirement for fmt in formats[:1] if fmt.requirement}
    return {*_PACKING, *readers}
