"""numpy's .npz archives, never with pickled objects."""

from __future__ import annotations

import threading
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..._reader import Reader
from ...errors import SourceError
from ._source import Contents, Format, ReadOptions, SourceTensor, refuse
from ._zip import check_directory, check_growth, first_name
from .npy import DAMAGE, read_array, read_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_MEMBER_SUFFIX: Final = ".npy"
_DAMAGE: Final = (*DAMAGE, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


@contextmanager
def _open(path: Path, reading: ReadOptions) -> Iterator[Contents]:
    refuse(path, FORMAT.name, layout=reading.layout, key=reading.key)
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
            file = Reader(stack.enter_context(path.open("rb")), str(path))
            check_directory(file, archive)
            for member in archive.infolist():
                check_growth(member)
        except (SourceError, *_DAMAGE) as error:
            raise SourceError(f"{path}: {error}") from error
        lock = threading.Lock()
        yield Contents([_tensor(archive, lock, member) for member in archive.infolist()])


def _tensor(
    archive: zipfile.ZipFile, lock: threading.Lock, member: zipfile.ZipInfo
) -> SourceTensor:
    name = member.filename.removesuffix(_MEMBER_SUFFIX)
    try:
        with archive.open(member) as file:
            shape, dtype = read_header(file, member.file_size)
    except SourceError as error:
        raise SourceError(f"{archive.filename}: tensor {name!r} {error}") from error
    except _DAMAGE as error:
        raise SourceError(f"{archive.filename}: tensor {name!r}: {error}") from error
    return SourceTensor(name, dtype, shape, partial(_read, archive, lock, member, dtype))


def _read(
    archive: zipfile.ZipFile, lock: threading.Lock, member: zipfile.ZipInfo, dtype: str
) -> NDArray[Any]:
    try:
        with lock, archive.open(member) as file:
            return read_array(file, dtype)
    except _DAMAGE as error:
        raise SourceError(f"{archive.filename}: {member.filename!r}: {error}") from error


def _matches(head: bytes) -> bool:
    return head.startswith(b"PK\x05\x06") or first_name(head).endswith(_MEMBER_SUFFIX.encode())


FORMAT: Final = Format("npz", (".npz",), _matches, _open)
