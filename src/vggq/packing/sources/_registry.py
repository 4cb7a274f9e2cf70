"""Which format a file is of, and its opening."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..._fields import is_text
from ..._reader import LFS_POINTER
from ...errors import SourceError
from . import _refusals, keras, npy, npz, onnx, safetensors, sharded, torch
from ._names import select
from ._source import Format, ReadOptions, Source, natural_order

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMATS: Final[tuple[Format, ...]] = (
    *keras.FORMATS,
    safetensors.FORMAT,
    sharded.FORMAT,
    *torch.FORMATS,
    npz.FORMAT,
    npy.FORMAT,
    onnx.FORMAT,
)

_HEAD: Final = 1 << 17
_AS_IT_IS: Final = ReadOptions()


def identify(path: Path) -> Format:
    """The format of a file, by its first bytes; its suffix must not contradict them.

    Raises:
        SourceError: there is no such file, or it is of no known format, or its suffix is of
            another one; the message has the way out.

    """
    head = _read_head(path)
    if head.startswith(LFS_POINTER):
        raise SourceError(f"{path} is a Git LFS pointer, not the weights: run `git lfs pull`")
    if refusal := _refusals.by_content(head):
        raise SourceError(f"{path} {refusal}")
    likely = [fmt for fmt in FORMATS if fmt.matches(head)]
    if not likely and (refusal := _refusals.by_name(path.name)):
        raise SourceError(f"{path} {refusal}")
    promised = _formats_of_suffix(path)
    if found := next((fmt for fmt in likely if fmt in promised or not promised), None):
        return found
    if not promised:
        suffixes = ", ".join(dict.fromkeys(suffix for fmt in FORMATS for suffix in fmt.suffixes))
        raise SourceError(f"{path} is of no known format; those known are of {suffixes}")
    content = f"of {likely[0].name}" if likely else "not of that format"
    raise SourceError(
        f"{path}: its suffix is of {promised[0].name}, its content is {content}"
        f"{'' if head else ' (it is empty)'}"
    )


def _formats_of_suffix(path: Path) -> list[Format]:
    """The formats that a file's name promises; torch has two under one suffix."""
    return [fmt for fmt in FORMATS if path.name.lower().endswith(fmt.suffixes)]


def _read_head(path: Path) -> bytes:
    try:
        if refusal := _refusals.by_place(path):
            raise SourceError(f"{path} {refusal}")
        if path.is_dir():
            raise SourceError(f"{path} is a directory, not a file")
        with path.open("rb") as file:
            return file.read(_HEAD)
    except FileNotFoundError as error:
        raise SourceError(f"{path}: no such file") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        # A NUL in its name.
        raise SourceError(f"{str(path)!r} cannot be read: {error}") from error


def files(path: Path) -> list[Path]:
    """All files of a checkpoint: itself, and its shards.

    Raises:
        SourceError: as of `identify`; or the file that names the others is damaged.

    """
    return identify(path).files(path)


def digest(path: Path) -> str:
    """What tells a checkpoint from others, in hexadecimal.

    The SHA-256 of its file; where there are several, that of a line `<SHA-256>  <name>` for
    each, as of sha256sum.

    Raises:
        SourceError: as of `identify`, or a file cannot be read.

    """
    several = files(path)
    if len(several) == 1:
        return file_digest(path)
    lines = [
        f"{file_digest(file)}  {os.path.relpath(file, path.parent)}\n".replace(os.sep, "/")
        for file in several
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal.

    Raises:
        SourceError: it cannot be read.

    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


@contextmanager
def open_source(path: str | os.PathLike[str], reading: ReadOptions = _AS_IT_IS) -> Iterator[Source]:
    """Open a checkpoint; its tensors are read while the block lasts.

    Args:
        path: the file.
        reading: the layout, the state dict's key, and what to leave out and to rename.

    Raises:
        OptionError: a pattern matches no tensor.
        SourceError: the file cannot be read, or not in that layout, or two of its tensors come
            to have one name.
        MissingDependencyError: the library that reads the format is not installed.

    """
    path = Path(path)
    fmt = identify(path)
    # Before anything is read of it, so that `check_unchanged` covers all that is.
    sha256 = digest(path)
    with fmt.open(path, reading) as found:
        tensors = select(found.tensors, reading)
        names = Counter(tensor.name for tensor in tensors)
        if twice := [name for name, count in names.items() if count > 1]:
            raise SourceError(f"{path}: two tensors come to have the name {twice[0]!r}")
        if odd := [name for name in names if not is_text(name)]:
            raise SourceError(f"{path}: a tensor's name, {odd[0]!a}, is not valid Unicode")
        if not tensors:
            left = "holds no tensors" if not found.tensors else "has no tensors that `drop` leaves"
            raise SourceError(f"{path} {left}")
        yield Source(fmt.name, sha256, sorted(tensors, key=natural_order), found.key)


def check_unchanged(path: Path, source: Source) -> None:
    """Refuse what was read of a checkpoint if it is another one now.

    Raises:
        SourceError: its files are not those that were opened, or cannot be read any more.

    """
    if digest(path) != source.sha256:
        raise SourceError(
            f"{path} changed while it was read: wait until it is written, and build again"
        )
