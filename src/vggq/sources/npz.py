"""numpy's .npz archives, never with pickled objects."""

from __future__ import annotations

import threading
import zipfile
import zlib
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .. import _dtypes
from ..errors import SourceError
from ._source import Format, Reading, SourceTensor, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_MEMBER_SUFFIX: Final = ".npy"
_HEADER_READERS: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_DAMAGE: Final = (
    ValueError,
    EOFError,
    OSError,
    KeyError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
)


@contextmanager
def _open(path: Path, reading: Reading) -> Iterator[list[SourceTensor]]:
    refuse(path, FORMAT.name, layout=reading.layout, key=reading.key)
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGE as error:
        raise SourceError(f"{path}: {error}") from error
    with archive:
        lock = threading.Lock()
        yield [_tensor(archive, lock, member) for member in archive.namelist()]


def _tensor(archive: zipfile.ZipFile, lock: threading.Lock, member: str) -> SourceTensor:
    name = member.removesuffix(_MEMBER_SUFFIX)
    try:
        with archive.open(member) as file:
            # Version 3 is for structured types with names beyond Latin-1: no tensors.
            read_header = _HEADER_READERS[np.lib.format.read_magic(file)]
            shape, _, dtype = read_header(file)
    except _DAMAGE as error:
        raise SourceError(f"{archive.filename}: tensor {name!r}: {error}") from error
    known = _dtypes.name_of(dtype)
    if known is None:
        raise SourceError(
            f"{archive.filename}: tensor {name!r} is of {dtype}, which is not supported"
        )
    return SourceTensor(name, known, shape, partial(_read, archive, lock, member, known))


def _read(archive: zipfile.ZipFile, lock: threading.Lock, member: str, dtype: str) -> NDArray[Any]:
    try:
        with lock, archive.open(member) as file:
            values = np.lib.format.read_array(file, allow_pickle=False)
    except _DAMAGE as error:
        raise SourceError(f"{archive.filename}: {member!r}: {error}") from error
    return np.asarray(values, _dtypes.STORAGE[dtype], order="C")


def _matches(head: bytes) -> bool:
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


FORMAT: Final = Format("npz", (".npz",), _matches, _open)
