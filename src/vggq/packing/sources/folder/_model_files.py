"""The files of a folder that are models, opened together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ....errors import SourceError
from .._registry import find_format, has_known_suffix
from .._source import ReadOptions
from .._unique_names import make_unique

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from .._places import Checksum
    from .._source import Contents, Format, SourceTensor

_AS_MODEL: Final = ReadOptions(restore="model")
# Files of these formats are named by an index, which needs no reader here.
_INDEX_SUFFIX: Final = ".json"
# The formats whose tensors should stay if several files hold the same.
_PREFERRED: Final = ("safetensors", "torch", "torch-legacy")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model in the folder.

    Attributes:
        path: the file.
        format: its format.
        files: all its files, the file itself first: ONNX models have others.
        contents: its tensors, with places in these files.

    """

    path: Path
    format: Format
    files: list[Path]
    contents: Contents


def find_model_files(files: Iterable[Path]) -> list[tuple[Path, Format]]:
    """Return the files whose tensors can be quantized in their place, with their formats.

    If several hold the same tensors, the preferred one is first.
    """
    found = []
    for file in files:
        fmt = None if _is_index(file) else find_format(file)
        if fmt is not None:
            found.append((file, fmt))
    return sorted(found, key=lambda pair: _rank(*pair))


def _is_index(file: Path) -> bool:
    return file.name.lower().endswith(_INDEX_SUFFIX)


def find_misnamed_files(files: Iterable[Path], models: Iterable[ModelFile]) -> list[Path]:
    """Return the files whose content is not that of their suffix, unless a model uses them."""
    used = {file for model in models for file in model.files}
    return [f for f in files if f not in used and has_known_suffix(f) and not _is_index(f)]


def _rank(path: Path, fmt: Format) -> tuple[int, int, Path]:
    """Return a sort key: libraries load the preferred format, and from the top of the folder."""
    rank = _PREFERRED.index(fmt.name) if fmt.name in _PREFERRED else len(_PREFERRED)
    return rank, len(path.parts), path


def open_model_file(stack: ExitStack, path: Path, fmt: Format) -> ModelFile:
    """Open a file; its tensors can be read until the stack is closed.

    Raises:
        SourceError: the file is damaged, or a file that belongs to it is missing.
        MissingDependencyError: the library that reads its format is not installed.

    """
    try:
        files = fmt.list_files(path)
        contents = stack.enter_context(fmt.open(path, _AS_MODEL))
    except SourceError as error:
        reason = f"{error.reason}; `exclude` can leave the file out"
        raise SourceError(reason, path=error.path, tensor=error.tensor) from error
    return ModelFile(path, fmt, files, contents)


class Merger:
    """Makes the tensors of several files those of one folder.

    Args:
        members: the files of the folder that are restored.
        models: those that are models.

    Raises:
        SourceError: a file of a model is not restored.

    """

    def __init__(self, members: Sequence[Path], models: Sequence[ModelFile]) -> None:
        self._indices = {path: index for index, path in enumerate(members)}
        self._models = models
        for model in models:
            self._check_files(model)
        used = Counter(index for model in models for index in self._members_of(model))
        # Two models may disagree about a file that both use.
        self._shared = {index for index, count in used.items() if count > 1}

    def _check_files(self, model: ModelFile) -> None:
        for file in model.files:
            if file not in self._indices:
                raise SourceError(
                    f"belongs to {model.path.name!r}, but is not packed; `include` it, or `exclude`"
                    " both",
                    path=file,
                )

    def _members_of(self, model: ModelFile) -> list[int]:
        return [self._indices[file] for file in model.files]

    def tensors(self, root: Path) -> list[SourceTensor]:
        """Return all tensors, with different names and their places in the folder."""
        pairs = [(model, tensor) for model in self._models for tensor in model.contents.tensors]
        counts = Counter(tensor.name for _, tensor in pairs)
        names = [
            tensor.name
            if counts[tensor.name] == 1
            else f"{model.path.relative_to(root).as_posix()}/{tensor.name}"
            for model, tensor in pairs
        ]
        moved = [self._move(model, tensor) for model, tensor in pairs]
        renamed = zip(moved, make_unique(names), strict=True)
        return [replace(tensor, name=name) for tensor, name in renamed]

    def _move(self, model: ModelFile, tensor: SourceTensor) -> SourceTensor:
        if tensor.place is None:
            return tensor
        member = self._members_of(model)[tensor.place.member]
        if member in self._shared:
            problem = tensor.problem or "its file belongs to several models"
            return replace(tensor, place=None, problem=problem)
        return replace(tensor, place=tensor.place.in_member(member))

    def checksums(self) -> Iterator[Checksum]:
        """Yield all checksums, with their places in the folder."""
        for model in self._models:
            members = self._members_of(model)
            for checksum in model.contents.checksums:
                yield checksum.in_member(members[checksum.member])

    def copies(self) -> dict[int, Path]:
        """Return the copies that are restored in place of files, by their index."""
        return {
            self._members_of(model)[index]: copy
            for model in self._models
            for index, copy in model.contents.copies.items()
        }
