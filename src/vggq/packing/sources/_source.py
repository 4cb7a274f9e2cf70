"""What every source looks like to the encoder."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SourceTensor:
    """One tensor of a checkpoint.

    Attributes:
        name: its final name, after any layout.
        dtype: the safetensors name of its dtype.
        shape: its sizes, after any layout.
        read: gives it as an array in the little-endian storage dtype of `dtype`; may be called
            from any thread.

    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]

    @property
    def count(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a format's reader found in a file.

    Attributes:
        tensors: in the file's order, under the file's names.
        key: the table that was taken for the state dict, where there was a choice and the
            caller made none.

    """

    tensors: list[SourceTensor]
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """An open checkpoint.

    Attributes:
        format: its format's name, as the manifest records it.
        sha256: its digest in hexadecimal, as `digest` gives it.
        tensors: its tensors in natural order of name, whatever the file's own order is.
        key: the table of a torch checkpoint that was taken for the state dict, where there was
            a choice and the caller made none.

    """

    format: str
    sha256: str
    tensors: list[SourceTensor]
    key: str | None = None


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a source is to be read.

    Attributes:
        layout: "torch" for a Keras source whose tensors are to be as torch wants them.
        key: which table of a torch checkpoint is the state dict.
        drop: patterns (as of `fnmatch`) of tensors to leave out.
        rename: pairs of a regular expression and what replaces it in every name, in order.

    """

    layout: str | None = None
    key: str | None = None
    drop: Sequence[str] = ()
    rename: Sequence[tuple[str, str]] = ()


def _itself(path: Path) -> list[Path]:
    return [path]


@dataclass(frozen=True, slots=True)
class Format:
    """A checkpoint format.

    Attributes:
        name: as the manifest records it.
        suffixes: of its files, lower case.
        matches: whether a file's first bytes, 128 KiB or all, can be those of this format.
        open: opens a file and gives what is in it, read as asked; a context manager.
        requirement: the library to install for it, as a requirement specifier, if any.
        files: all files that a checkpoint consists of, the one that names the others first;
            raises SourceError where it is too damaged to tell.

    """

    name: str
    suffixes: tuple[str, ...]
    matches: Callable[[bytes], bool]
    open: Callable[[Path, ReadOptions], AbstractContextManager[Contents]]
    requirement: str | None = None
    files: Callable[[Path], list[Path]] = _itself


def natural_order(tensor: SourceTensor) -> list[tuple[int, int, str]]:
    """A sorting key by which features.2 comes before features.10."""
    parts = re.split(r"([0-9]+)", tensor.name)
    return [_number(part) if part[:1].isdigit() else (1, 0, part) for part in parts]


def _number(digits: str) -> tuple[int, int, str]:
    # Not int, which takes its time for many digits, and no more than 4,300.
    significant = digits.lstrip("0")
    return (0, len(significant), significant)


def refuse(
    path: Path, format_name: str, *, layout: str | None = None, key: str | None = None
) -> None:
    """For formats that have no use for an option.

    Raises:
        SourceError: it was given all the same.

    """
    if layout is not None:
        raise SourceError(f"{path} is {format_name}: layout = {layout!r} is for Keras sources only")
    if key is not None:
        raise SourceError(f"{path} is {format_name}: key = {key!r} is for torch sources only")
