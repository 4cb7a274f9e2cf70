"""Checkpoints of torch 1.6 and later: a zip archive of a pickle and the bytes of its storages."""

from __future__ import annotations

import io
import re
import threading
import zipfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final

from ...._reader import Reader
from ....errors import SourceError
from .._source import Contents, Format, ReadOptions, reject_options
from .._zip import (
    ZIP_ERRORS,
    check_expansion,
    check_record_name,
    data_offset,
    first_record_name,
)
from ._globals import KNOWN_GLOBALS
from ._interpreter import PickleInterpreter
from ._rebuild import load_persistent
from ._state_dict import find_contents
from ._tensors import StorageReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ._objects import Storage
    from ._tensors import ByteOrder

_CHUNK_SIZE: Final = 1 << 20
_MAX_PICKLE_SIZE: Final = 1 << 27
# The pickle of a state dict has five times the size of its compressed bytes. A pickle that exceeds
# both limits would only take long to interpret.
_MAX_PICKLE_EXPANSION: Final = 20
_MIN_PICKLE_BOMB_SIZE: Final = 1 << 20
# torch.save writes the pickle first, TorchScript the data.
_FIRST_RECORD: Final = re.compile(rb"[^/]+/(data\.pkl|data/|version|byteorder|\.)")
_UNSUPPORTED_ARCHIVES: Final = {
    "constants.pkl": "a TorchScript archive; save its state dict instead: "
    "torch.save(torch.jit.load(path).state_dict(), other)",
    "archive_format": "a program of torch.export; save its state dict instead: "
    "torch.save(torch.export.load(path).state_dict, other)",
}


@contextmanager
def _open(path: Path, read_options: ReadOptions) -> Iterator[Contents]:
    reject_options(FORMAT.name, layout=read_options.layout)
    try:
        archive = zipfile.ZipFile(path)
    except ZIP_ERRORS as error:
        raise SourceError(f"damaged archive: {error}") from error
    with archive, path.open("rb") as file:
        records = _Records(archive, Reader(file, path))
        root = PickleInterpreter(KNOWN_GLOBALS, load_persistent).load(records.open_pickle())
        storages = StorageReader(records.read_storage, records.byte_order())
        yield find_contents(root, read_options.key, storages)


class _Records:
    """Records of a torch archive, all in one folder; any thread may read them."""

    def __init__(self, archive: zipfile.ZipFile, file: Reader) -> None:
        self._archive = archive
        self._file = file
        self._lock = threading.Lock()
        self._checked: set[str] = set()
        self._infos = {info.filename: info for info in archive.infolist()}
        for info in self._infos.values():
            check_record_name(info)
        self._folder = self._find_folder()

    def _find_folder(self) -> str:
        folders = dict.fromkeys(name.partition("/")[0] for name in self._infos)
        for record, message in _UNSUPPORTED_ARCHIVES.items():
            if any(f"{folder}/{record}" in self._infos for folder in folders):
                raise SourceError(message)
        found = [folder for folder in folders if f"{folder}/data.pkl" in self._infos]
        if len(found) != 1:
            raise SourceError(
                f"found {len(found)} folders with a record data.pkl in the zip archive, expected 1"
            )
        return found[0]

    def open_pickle(self) -> IO[bytes]:
        """Return the pickle as a file."""
        info = self._infos[f"{self._folder}/data.pkl"]
        size = info.file_size
        if size > _MAX_PICKLE_SIZE:
            raise SourceError(
                f"the record 'data.pkl' has {size} bytes, more than the limit of {_MAX_PICKLE_SIZE}"
            )
        check_expansion(info, _MAX_PICKLE_EXPANSION, _MIN_PICKLE_BOMB_SIZE)
        return io.BytesIO(self.read("data.pkl", 0, size))

    def byte_order(self) -> ByteOrder:
        """Return the byte order of the storages, in numpy's notation."""
        is_recorded = f"{self._folder}/byteorder" in self._infos
        return ">" if is_recorded and self.read("byteorder", 0, 3) == b"big" else "<"

    def read_storage(self, storage: Storage, start: int, size: int) -> bytes:
        """Return bytes of a storage, in the archive's byte order."""
        return self.read(f"data/{storage.key}", start, size)

    def read(self, name: str, start: int, size: int) -> bytes:
        """Return `size` bytes of a record, after checking the checksum of all its bytes."""
        info = self._infos.get(f"{self._folder}/{name}")
        if info is None:
            raise SourceError(f"the record {name!r} is missing")
        if start + size > info.file_size:
            raise SourceError(
                f"the record {name!r} has {info.file_size} bytes, but {start + size} are needed"
            )
        if info.compress_type != zipfile.ZIP_STORED:
            return self._read_compressed(info, start, size)
        if info.file_size != info.compress_size:
            raise SourceError(f"the record {name!r} is damaged: it has two sizes")
        self._check_crc(info)
        return self._file.read_at(data_offset(self._file, info) + start, size)

    def _read_compressed(self, info: zipfile.ZipInfo, start: int, size: int) -> bytes:
        """Return bytes of a record that another program than torch has compressed.

        The bytes before and after them are decompressed as well: zipfile compares the checksum at
        the end of the record.
        """
        check_expansion(info)
        with _damaged(info), self._archive.open(info) as record:
            _skip(record, start)
            content = record.read(size)
            rest = info.file_size - start - len(content)
            if len(content) != size or _skip(record, rest + 1) != rest:
                raise SourceError(f"the record {info.filename!r} is damaged: it has another size")
        return content

    def _check_crc(self, info: zipfile.ZipInfo) -> None:
        with self._lock:
            if info.filename in self._checked:
                return
            with _damaged(info), self._archive.open(info) as record:
                _skip(record, info.file_size + 1)
            self._checked.add(info.filename)


def _skip(record: IO[bytes], size: int) -> int:
    """Read bytes of a record, and return how many there are up to a size."""
    left = size
    while left and (chunk := record.read(min(_CHUNK_SIZE, left))):
        left -= len(chunk)
    return size - left


@contextmanager
def _damaged(info: zipfile.ZipInfo) -> Iterator[None]:
    """Turn the errors of zipfile into a SourceError."""
    try:
        yield
    except ZIP_ERRORS as error:
        raise SourceError(f"the record {info.filename!r} is damaged: {error}") from error


def _matches(head: bytes) -> bool:
    first = first_record_name(head)
    return _FIRST_RECORD.match(first) is not None and not first.endswith(b".npy")


FORMAT: Final = Format("torch", (".pth", ".pt", ".bin"), _matches, _open)
