"""What `torch.save` writes since 1.6: a zip archive of a pickle and of the storages' bytes."""

from __future__ import annotations

import io
import threading
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np

from ..._dtypes import STORAGE
from ..._files import PackedFile
from ...errors import SourceError
from .._source import Contents, Format, Reading, refuse
from .._zip import DAMAGE, check_name, data_start
from ._names import NAMES, Storage, storage_of
from ._pickle import Pickle, PickleError
from ._state import contents_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK: Final = 1 << 20


@contextmanager
def _open(path: Path, reading: Reading) -> Iterator[Contents]:
    refuse(path, FORMAT.name, layout=reading.layout)
    try:
        archive = zipfile.ZipFile(path)
    except DAMAGE as error:
        raise SourceError(f"{path}: {error}") from error
    with archive, path.open("rb") as file:
        try:
            records = _Records(archive, PackedFile(file, str(path)))
            pickled = io.BytesIO(records.read("data.pkl", 0, None))
            root = Pickle(NAMES, storage_of).load(pickled)
            contents = contents_of(root, reading.key, records.read_storage)
        except (SourceError, PickleError) as error:
            raise SourceError(f"{path}: {error}") from error
        yield contents


class _Records:
    """The members of the archive, all in one folder, read from any thread."""

    def __init__(self, archive: zipfile.ZipFile, file: PackedFile) -> None:
        self._archive = archive
        self._file = file
        self._lock = threading.Lock()
        self._sound: set[str] = set()
        self._infos = {info.filename: info for info in archive.infolist()}
        for info in self._infos.values():
            _check(info)
        self._folder = self._find_folder()
        self._swapped = f"{self._folder}/byteorder" in self._infos and (
            self.read("byteorder", 0, None) == b"big"
        )

    def _find_folder(self) -> str:
        pickles = [name for name in self._infos if name.partition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise SourceError("it is a zip archive without torch's data.pkl")
        folder = pickles[0].partition("/")[0]
        if f"{folder}/constants.pkl" in self._infos:
            raise SourceError(
                "it is a TorchScript archive: save its state dict, "
                "torch.save(torch.jit.load(path).state_dict(), other)"
            )
        return folder

    def read_storage(self, storage: Storage, start: int, size: int) -> bytes:
        """Bytes of a storage, little-endian whatever the file is."""
        part = self.read(f"data/{storage.key}", start, size)
        width = 1 if storage.dtype is None else STORAGE[storage.dtype].itemsize
        if not self._swapped or width == 1:
            return part
        return np.frombuffer(part, f">u{width}").astype(f"<u{width}").tobytes()

    def read(self, name: str, start: int, size: int | None) -> bytes:
        """`size` bytes of a record, or all; its checksum has been checked on the whole."""
        info = self._infos.get(f"{self._folder}/{name}")
        if info is None:
            raise SourceError(f"the record {name!r} is missing")
        size = info.file_size if size is None else size
        if start + size > info.file_size:
            raise SourceError(f"the record {name!r} has {info.file_size} bytes, not {start + size}")
        self._prove(info)
        return self._file.read_at(data_start(self._file, info) + start, size)

    def _prove(self, info: zipfile.ZipInfo) -> None:
        with self._lock:
            if info.filename in self._sound:
                return
            try:
                with self._archive.open(info) as record:
                    while record.read(_BLOCK):
                        pass
            except DAMAGE as error:
                raise SourceError(f"the record {info.filename!r}: {error}") from error
            self._sound.add(info.filename)


def _check(info: zipfile.ZipInfo) -> None:
    check_name(info)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise SourceError(f"the record {info.filename!r} is compressed, as torch writes none")


def _matches(head: bytes) -> bool:
    return head.startswith(b"PK\x03\x04") and b"/data.pkl" in head


FORMAT: Final = Format("torch", (".pth", ".pt", ".bin"), _matches, _open)
