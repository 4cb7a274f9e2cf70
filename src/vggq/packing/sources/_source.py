"""Checkpoint formats, and the tensors that they give to the encoder."""

from __future__ import annotations

import math
import os
import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...errors import PackedFileError, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

    from ._places import Checksum, Place

UNKNOWN_DTYPE: Final = "unknown"


@dataclass(frozen=True, slots=True)
class SourceTensor:
    """A tensor of a checkpoint.

    Attributes:
        name: final name, after any layout and renaming.
        dtype: safetensors name of its dtype.
        shape: final shape, after any layout.
        read: returns the values as an array in the little-endian storage dtype of `dtype`; may
            be called from any thread.
        problem: why the tensor cannot be packed; only `drop` may exclude it. None if it can be.
        untyped: whether the file does not state the dtype, so that `dtypes` may declare it.
        place: the range of a file that has exactly the bytes of `read`, or None.
        channels_last: whether the output channels of a kernel are its last axis, as in Keras, and
            not the first, as in torch and ONNX.

    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]
    problem: str | None = None
    untyped: bool = False
    place: Place | None = None
    channels_last: bool = False

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def unsupported_tensor(
    name: str, problem: str, *, dtype: str = UNKNOWN_DTYPE, shape: tuple[int, ...] = ()
) -> SourceTensor:
    """Return a tensor that cannot be packed, so that `drop` can leave it out.

    Args:
        name: its name in the file.
        problem: why it cannot be packed, as the reason of an error.
        dtype: name of its dtype, in the words of its format, if it is known.
        shape: its shape.

    """

    def read() -> NDArray[Any]:
        raise SourceError(problem)

    return SourceTensor(name, dtype, shape, read, problem)


@dataclass(frozen=True, slots=True)
class Contents:
    """Tensors that a format found in a file.

    Attributes:
        tensors: in the order of the file, with the file's names.
        chosen_key: the dict of a torch checkpoint that was taken for the state dict; None if
            there was no choice, or the caller made it.
        remarks: one line for each fact that a packager should know, such as the names of objects
            that are not packed.
        checksums: the checksums over ranges with tensors, if the model is packed.
        copies: the files that are restored in place of others, by the index of these in the list
            of the source's files: a compressed archive has a copy with its records uncompressed.

    """

    tensors: list[SourceTensor]
    chosen_key: str | None = None
    remarks: tuple[str, ...] = ()
    checksums: tuple[Checksum, ...] = ()
    copies: Mapping[int, Path] = field(default_factory=dict)

    def as_member(self, index: int) -> Contents:
        """Return the contents of a single file as those of one of several files."""
        tensors = [
            replace(tensor, place=tensor.place and tensor.place.in_member(index))
            for tensor in self.tensors
        ]
        checksums = tuple(checksum.in_member(index) for checksum in self.checksums)
        copies = {index: self.copies[0]} if self.copies else {}
        return replace(self, tensors=tensors, checksums=checksums, copies=copies)


@dataclass(frozen=True, slots=True)
class Source:
    """An open checkpoint.

    Attributes:
        format: name of the format, as recorded in the manifest.
        sha256: digest of the checkpoint, as returned by `hash_source`.
        tensors: in natural order of their names.
        chosen_key: the dict of a torch checkpoint that was taken for the state dict; None if
            there was no choice, or the caller made it.
        remarks: as those of `Contents`.
        restore: "model" if the files are restored, "tensors" if only their tensors are.
        files: all files, the one that names the others first; empty for arrays in memory.
        checksums: as those of `Contents`.
        kept: if the files are restored, the tensors that stay in the rest of the files, with the
            reason as their `problem`; `tensors` are the others.
        copies: as those of `Contents`.
        root: the folder, if that is the source; then no file is the main one.
        folders: the relative paths of the empty folders in it, with slashes.

    """

    format: str
    sha256: str
    tensors: list[SourceTensor]
    chosen_key: str | None = None
    remarks: tuple[str, ...] = ()
    restore: str = "tensors"
    files: tuple[Path, ...] = ()
    checksums: tuple[Checksum, ...] = ()
    kept: tuple[SourceTensor, ...] = ()
    copies: Mapping[int, Path] = field(default_factory=dict)
    root: Path | None = None
    folders: tuple[str, ...] = ()

    @property
    def base(self) -> Path:
        """The folder that the paths of the files are relative to."""
        return self.root or self.files[0].parent

    def member_path(self, file: Path) -> str:
        """Return the path of a file as that of a model's member."""
        return os.path.relpath(file, self.base).replace(os.sep, "/")

    @property
    def restored_files(self) -> tuple[Path, ...]:
        """The files whose bytes are restored: those of the source, or copies of them."""
        return replace_files(self.files, self.copies)

    @property
    def restores_model(self) -> bool:
        """Whether the files are restored, not only their tensors."""
        return self.restore == "model"


def replace_files(files: Sequence[Path], copies: Mapping[int, Path]) -> tuple[Path, ...]:
    """Return files, with the copies by index in place of some of them."""
    return tuple(copies.get(index, file) for index, file in enumerate(files))


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options for reading a source.

    Attributes:
        layout: "torch" to convert the names and axes of a Keras source to those of torch.
        key: dict of a torch checkpoint that is the state dict, or a tuple of several dicts, each
            of which becomes the prefix of its tensors' names.
        drop: `fnmatch` patterns of tensors to leave out.
        rename: pairs of a regular expression and its replacement, applied to every name in order.
        dtypes: pairs of an `fnmatch` pattern and a dtype's name in ml_dtypes, for tensors whose
            dtype the file does not state.
        restore: "model" to restore the files of the source, "tensors" to restore only their
            tensors; None for the default of the format.
        include: `fnmatch` patterns of the relative paths of the files of a folder to pack;
            without patterns all.
        exclude: patterns of those to leave out.

    """

    layout: str | None = None
    key: str | tuple[str, ...] | None = None
    drop: Sequence[str] = ()
    rename: Sequence[tuple[str, str]] = ()
    dtypes: Sequence[tuple[str, str]] = ()
    restore: str | None = None
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()


def _single_file(path: Path) -> list[Path]:
    return [path]


def _no_folders(_: Path) -> list[str]:
    return []


def _tensors_by_default(_: Path) -> str:
    return "tensors"


@dataclass(frozen=True, slots=True)
class Format:
    """A checkpoint format.

    Attributes:
        name: as recorded in the manifest.
        suffixes: file name suffixes, in lower case.
        matches: returns whether the first bytes of a file (128 KiB, or all) fit this format.
        opener: opens a file and yields its contents; its errors need not name the file.
        requirement: requirement specifier of the library that reads this format, if any.
        file_lister: returns all files of a checkpoint, the one that names the others first.
        default_restore: returns the default of `restore` for a file: "model" or "tensors".
        channels_last: whether the output channels of a kernel are its last axis, without a layout.
        folder_lister: returns the relative paths of the empty folders of a source.
        is_folder: whether sources are folders.
        uses_file_name: whether the names of tensors depend on that of the file.

    """

    name: str
    suffixes: tuple[str, ...]
    matches: Callable[[bytes], bool]
    opener: Callable[[Path, ReadOptions], AbstractContextManager[Contents]]
    requirement: str | None = None
    file_lister: Callable[[Path], list[Path]] = _single_file
    default_restore: Callable[[Path], str] = _tensors_by_default
    channels_last: bool = False
    folder_lister: Callable[[Path], list[str]] = _no_folders
    is_folder: bool = False
    uses_file_name: bool = False

    @contextmanager
    def open(self, path: Path, read_options: ReadOptions) -> Iterator[Contents]:
        """Open a file of this format; its tensors can be read while the block lasts.

        Raises:
            SourceError: the file is damaged, or cannot be read with these options. Reading a
                tensor raises SourceError too.
            MissingDependencyError: the library that reads this format is not installed.

        """
        with ExitStack() as stack:
            with _locate_errors(path):
                contents = stack.enter_context(self.opener(path, read_options))
            channels_last = self.channels_last and read_options.layout is None
            tensors = [
                replace(
                    tensor,
                    read=partial(_read_tensor, path, tensor),
                    channels_last=channels_last or tensor.channels_last,
                )
                for tensor in contents.tensors
            ]
            yield replace(contents, tensors=tensors)

    def list_files(self, path: Path) -> list[Path]:
        """Return all files of a checkpoint, the one that names the others first.

        Raises:
            SourceError: the file is too damaged to know the others, or one of them is missing.

        """
        with _locate_errors(path):
            return self.file_lister(path)

    def list_empty_folders(self, path: Path) -> list[str]:
        """Return the relative paths of the empty folders of a source.

        Raises:
            SourceError: as `list_files`.

        """
        with _locate_errors(path):
            return self.folder_lister(path)

    def choose_restore(self, path: Path) -> str:
        """Return the default of `restore` for a file.

        Raises:
            SourceError: the file is too damaged.

        """
        with _locate_errors(path):
            return self.default_restore(path)


def _read_tensor(path: Path, tensor: SourceTensor) -> NDArray[Any]:
    with _locate_errors(path, tensor.name):
        values = tensor.read()
        if tensor.dtype == "BOOL" and values.view(np.uint8).max(initial=0) > 1:
            raise SourceError("a boolean is neither 0 nor 1")
        return values


@contextmanager
def _locate_errors(path: Path, tensor: str | None = None) -> Iterator[None]:
    try:
        yield
    except SourceError as error:
        error.locate(path=path, tensor=tensor)
        raise
    except PackedFileError as error:
        # `Reader` serves packed files too.
        raise SourceError(error.reason, path=path, tensor=tensor) from error


def natural_sort_key(tensor: SourceTensor) -> list[tuple[int, int, str]]:
    """Return a sort key that puts features.2 before features.10."""
    parts = re.split(r"([0-9]+)", tensor.name)
    return [_digits_sort_key(part) if part[:1].isdigit() else (1, 0, part) for part in parts]


def _digits_sort_key(digits: str) -> tuple[int, int, str]:
    # `int` is slow for many digits, and accepts at most 4,300.
    significant = digits.lstrip("0")
    return (0, len(significant), significant)


def reject_options(
    format_name: str, *, layout: str | None = None, key: str | tuple[str, ...] | None = None
) -> None:
    """Raise SourceError if an option is set that the format does not support."""
    if layout is not None:
        raise SourceError(
            f"layout = {layout!r} is for Keras sources only, and this file is {format_name}"
        )
    if key is not None:
        shown = list(key) if isinstance(key, tuple) else key
        raise SourceError(
            f"key = {shown!r} is for torch checkpoints only, and this file is {format_name}"
        )
