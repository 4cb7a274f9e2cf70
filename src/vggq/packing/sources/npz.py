"""numpy's .npz archives; pickled objects are never loaded."""

from __future__ import annotations

import threading
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..._reader import Reader
from ...errors import SourceError
from ._source import Contents, Format, ReadOptions, SourceTensor, reject_options
from ._zip import check_directory, check_expansion, first_record_name
from .npy import NPY_ERRORS, read_npy_array, read_npy_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_RECORD_SUFFIX: Final = ".npy"
_NPZ_ERRORS: Final = (
    *NPY_ERRORS, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError
)  # fmt: skip


@contextmanager
def _open(path: Path, read_options: ReadOptions) -> Iterator[Contents]:
    reject_options(FORMAT.name, layout=read_options.layout, key=read_options.key)
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
            file = Reader(stack.enter_context(path.open("rb")), path)
            check_directory(file, archive)
            for record in archive.infolist():
                check_expansion(record)
        except _NPZ_ERRORS as error:
            raise SourceError(f"damaged .npz archive: {error}") from error
        lock = threading.Lock()
        yield Contents([_describe_record(archive, lock, record) for record in archive.infolist()])


def _describe_record(
    archive: zipfile.ZipFile, lock: threading.Lock, record: zipfile.ZipInfo
) -> SourceTensor:
    name = record.filename.removesuffix(_RECORD_SUFFIX)
    try:
        with archive.open(record) as file:
            shape, dtype = read_npy_header(file, record.file_size)
    except SourceError as error:
        error.locate(tensor=name)
        raise
    except _NPZ_ERRORS as error:
        raise SourceError(f"damaged: {error}", tensor=name) from error
    return SourceTensor(name, dtype, shape, partial(_read_record, archive, lock, record, dtype))


def _read_record(
    archive: zipfile.ZipFile, lock: threading.Lock, record: zipfile.ZipInfo, dtype: str
) -> NDArray[Any]:
    try:
        with lock, archive.open(record) as file:
            return read_npy_array(file, dtype)
    except _NPZ_ERRORS as error:
        raise SourceError(f"damaged: {error}") from error


def _matches(head: bytes) -> bool:
    name = first_record_name(head)
    return head.startswith(b"PK\x05\x06") or name.endswith(_RECORD_SUFFIX.encode())


FORMAT: Final = Format("npz", (".npz",), _matches, _open)
