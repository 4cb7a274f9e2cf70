"""Keras 3 archives, ``.keras``: a zip of the model's description and of its weights in HDF5."""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final, cast

from ...._reader import Reader
from ....errors import SourceError
from .._source import Contents, Format, ReadOptions, refuse
from .._zip import DAMAGE, check_growth, check_name, data_start, first_name
from . import layout
from .hdf5 import open_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from _typeshed import WriteableBuffer

    from ._layer import TorchTensor

_WEIGHTS: Final = "model.weights.h5"
_CONFIG: Final = "config.json"
# What Keras puts first; any zip archive may begin as one does.
_FIRST: Final = (b"metadata.json", _CONFIG.encode(), _WEIGHTS.encode(), b"assets/")
_BLOCK: Final = 1 << 20
_LONGEST_CONFIG: Final = 1 << 26


@contextmanager
def _open(path: Path, reading: ReadOptions) -> Iterator[Contents]:
    refuse(path, FORMAT.name, key=reading.key)
    try:
        archive = zipfile.ZipFile(path)
    except DAMAGE as error:
        raise SourceError(f"{path}: {error}") from error
    with archive:
        try:
            find = None if reading.layout is None else _finder(archive)
            content = _content(path, archive)
        except (SourceError, *DAMAGE) as error:
            raise SourceError(f"{path}: {error}") from error
        with content, open_tensors(content, path, find) as tensors:
            yield Contents(tensors)


def _member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    for info in archive.infolist():
        check_name(info)
    found = [info for info in archive.infolist() if info.filename == name]
    if len(found) != 1:
        raise SourceError(f"it is a zip archive with {len(found)} records named {name!r}, not one")
    (info,) = found
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SourceError(f"the record {name!r} is compressed otherwise than by deflate")
    check_growth(info)
    return info


def _finder(archive: zipfile.ZipFile) -> Callable[[Any], list[TorchTensor]]:
    info = _member(archive, _CONFIG)
    if info.file_size > _LONGEST_CONFIG:
        raise SourceError(f"the record {_CONFIG!r} has {info.file_size} bytes")
    return partial(layout.find_numbered, config=archive.read(info))


def _content(path: Path, archive: zipfile.ZipFile) -> IO[bytes]:
    """The weights as a file, all of them proved by the archive's checksum."""
    info = _member(archive, _WEIGHTS)
    if info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size:
        _copy(archive, info, None)
        with path.open("rb") as file:
            start = data_start(Reader(file, str(path)), info)
        return cast("IO[bytes]", _Window(path, start, info.file_size))
    with ExitStack() as stack:
        unpacked = stack.enter_context(tempfile.TemporaryFile())
        _copy(archive, info, unpacked)
        stack.pop_all()
        return unpacked


def _copy(archive: zipfile.ZipFile, info: zipfile.ZipInfo, to: IO[bytes] | None) -> None:
    with archive.open(info) as record:
        while block := record.read(_BLOCK):
            if to is not None:
                to.write(block)


class _Window(io.RawIOBase):
    """Part of a file as a file, which HDF5 can seek in: nothing of it is copied to memory."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._start = start
        self._size = size
        self._position = 0

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        # h5py does not look at how much was read.
        if self._position + len(view) > self._size:
            raise OSError("a read beyond the end of the weights")
        self._file.seek(self._start + self._position)
        done = 0
        # The system reads at most 2 GiB at a time.
        while done < len(view) and (count := self._file.readinto(view[done:])):
            done += count
        self._position += done
        return done

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


def _matches(head: bytes) -> bool:
    return first_name(head).startswith(_FIRST)


FORMAT: Final = Format("keras", (".keras",), _matches, _open, "h5py>=3.10")
