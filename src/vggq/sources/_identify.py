"""Which format a file is of, and its opening."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .._checks import is_text
from ..errors import SourceError
from . import keras_archive, keras_hdf5, npy, npz, safetensors, torch_legacy, torch_zip
from ._names import select
from ._source import Format, Reading, Source, natural_order

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

FORMATS: Final[tuple[Format, ...]] = (
    keras_hdf5.FORMAT,
    keras_archive.FORMAT,
    safetensors.FORMAT,
    torch_zip.FORMAT,
    torch_legacy.FORMAT,
    npz.FORMAT,
    npy.FORMAT,
)

_HEAD: Final = 512
_AS_IT_IS: Final = Reading()
_LFS_POINTER: Final = b"version https://git-lfs.github.com/spec/"


def identify(path: Path) -> Format:
    """The format of a file, by its suffix; its first bytes have to agree.

    Raises:
        SourceError: there is no such file, or it is of no known format; the message has the
            way out.

    """
    head = _read_head(path)
    if head.startswith(_LFS_POINTER):
        raise SourceError(f"{path} is a Git LFS pointer, not the weights: run `git lfs pull`")
    known = formats_of_suffix(path)
    likely = [fmt for fmt in FORMATS if fmt.matches(head)]
    if not known:
        raise SourceError(f"{path}: {_unknown_suffix(path, likely)}")
    if found := next((fmt for fmt in known if fmt in likely), None):
        return found
    content = f"of {likely[0].name}" if likely else "not of that format"
    raise SourceError(
        f"{path}: its suffix is of {known[0].name}, its content is {content}"
        f"{'' if head else ' (it is empty)'}"
    )


def formats_of_suffix(path: Path) -> list[Format]:
    """The formats that a file's name promises; torch has two under one suffix."""
    return [fmt for fmt in FORMATS if path.suffix.lower() in fmt.suffixes]


def _unknown_suffix(path: Path, likely: list[Format]) -> str:
    if likely:
        return f"unknown suffix {path.suffix!r}; it looks like {likely[0].name}, so rename it"
    suffixes = ", ".join(dict.fromkeys(suffix for fmt in FORMATS for suffix in fmt.suffixes))
    return f"unknown suffix {path.suffix!r}, expected one of {suffixes}"


def _read_head(path: Path) -> bytes:
    if path.is_dir():
        raise SourceError(f"{path} is a directory, not a file")
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except FileNotFoundError as error:
        raise SourceError(f"{path}: no such file") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def digest(path: Path) -> str:
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
def open_source(path: str | os.PathLike[str], reading: Reading = _AS_IT_IS) -> Iterator[Source]:
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
    with fmt.open(path, reading) as found:
        tensors = select(found, reading)
        names = Counter(tensor.name for tensor in tensors)
        if twice := [name for name, count in names.items() if count > 1]:
            raise SourceError(f"{path}: two tensors come to have the name {twice[0]!r}")
        if odd := [name for name in names if not is_text(name)]:
            raise SourceError(f"{path}: a tensor's name, {odd[0]!a}, is not valid Unicode")
        if not tensors:
            raise SourceError(f"{path} holds no tensors")
        yield Source(fmt.name, digest(path), sorted(tensors, key=natural_order))
