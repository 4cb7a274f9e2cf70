"""The records of a torch archive: pickles, the bytes of storages, and code that is not run."""

from __future__ import annotations

import io
import threading
import zipfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

from ....errors import SourceError
from .._zip import ZIP_ERRORS, check_expansion, check_record_name, data_offset
from ._globals import KNOWN_GLOBALS
from ._interpreter import PickleInterpreter
from ._rebuild import load_persistent
from ._tensors import StorageReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...._reader import Reader
    from .._zip_records import StoredRecords
    from ._objects import Storage
    from ._tensors import ByteOrder

PICKLE_RECORD: Final = "data.pkl"
TORCHSCRIPT_RECORD: Final = "constants.pkl"
_CHUNK_SIZE: Final = 1 << 20
_MAX_PICKLE_SIZE: Final = 1 << 27
# The pickle of a state dict has five times the size of its compressed bytes. A pickle that exceeds
# both limits would only take long to interpret.
_MAX_PICKLE_EXPANSION: Final = 20
_MIN_PICKLE_BOMB_SIZE: Final = 1 << 20
_UNSUPPORTED_ARCHIVES: Final = {
    "archive_format": "a program of torch.export; save its state dict instead: "
    "torch.save(torch.export.load(path).state_dict, other)",
}


class ArchiveRecords:
    """Records of a torch archive, all in one folder; any thread may read them.

    Args:
        archive: the archive.
        file: the archive's file.
        verified: whether a stored record with a wrong checksum is an error.

    """

    def __init__(self, archive: zipfile.ZipFile, file: Reader, *, verified: bool = True) -> None:
        self._archive = archive
        self._file = file
        self._verified = verified
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
        found = [folder for folder in folders if f"{folder}/{PICKLE_RECORD}" in self._infos]
        if len(found) != 1:
            raise SourceError(
                f"found {len(found)} folders with a record data.pkl in the zip archive, expected 1"
            )
        return found[0]

    @property
    def is_torchscript(self) -> bool:
        """Whether the archive has the constants of TorchScript code."""
        return self.has(TORCHSCRIPT_RECORD)

    def has(self, name: str) -> bool:
        """Return whether there is a record."""
        return f"{self._folder}/{name}" in self._infos

    def load_pickle(self, name: str = PICKLE_RECORD) -> Any:
        """Return the object in a pickle."""
        content = self.read_whole(name, _MAX_PICKLE_SIZE)
        return PickleInterpreter(KNOWN_GLOBALS, load_persistent).load(io.BytesIO(content))

    def read_whole(self, name: str, limit: int) -> bytes:
        """Return all bytes of a record of a size for which a limit is known."""
        info = self._find(name)
        if info.file_size > limit:
            raise SourceError(
                f"the record {name!r} has {info.file_size} bytes, more than the limit of {limit}"
            )
        check_expansion(info, _MAX_PICKLE_EXPANSION, _MIN_PICKLE_BOMB_SIZE)
        return self.read(name, 0, info.file_size)

    def storages(self, folder: str, stored: StoredRecords | None = None) -> StorageReader:
        """Return the storages in a folder of the archive, such as "data".

        Args:
            folder: the folder.
            stored: the places of the archive's records, if those of its storages are needed.

        """

        def read(storage: Storage, start: int, size: int) -> bytes:
            return self.read(f"{folder}/{storage.key}", start, size)

        def locate(storage: Storage) -> int | None:
            record = stored and stored.find(f"{self._folder}/{folder}/{storage.key}")
            return record.start if record and record.size >= storage.size else None

        return StorageReader(read, self.byte_order(), locate)

    def byte_order(self) -> ByteOrder:
        """Return the byte order of the storages, in numpy's notation."""
        is_big = self.has("byteorder") and self.read("byteorder", 0, 3) == b"big"
        return ">" if is_big else "<"

    def read(self, name: str, start: int, size: int) -> bytes:
        """Return `size` bytes of a record, after checking the checksum of all its bytes."""
        info = self._find(name)
        if start + size > info.file_size:
            raise SourceError(
                f"the record {name!r} has {info.file_size} bytes, but {start + size} are needed"
            )
        if info.compress_type != zipfile.ZIP_STORED:
            return self._read_compressed(info, start, size)
        if info.file_size != info.compress_size:
            raise SourceError(f"the record {name!r} is damaged: it has two sizes")
        if self._verified:
            self._check_crc(info)
        return self._file.read_at(data_offset(self._file, info) + start, size)

    def _find(self, name: str) -> zipfile.ZipInfo:
        info = self._infos.get(f"{self._folder}/{name}")
        if info is None:
            raise SourceError(f"the record {name!r} is missing")
        return info

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
