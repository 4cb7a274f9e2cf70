"""What `torch.save` writes since 1.6: a zip archive of a pickle and of the storages' bytes."""

from __future__ import annotations

import io
import re
import threading
import zipfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final

from ...._reader import Reader
from ....errors import SourceError
from .._source import Contents, Format, ReadOptions, refuse
from .._zip import DAMAGE, check_name, data_start, first_name
from ._names import NAMES, storage_of
from ._pickle import Pickle, PickleError
from ._state import contents_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ._objects import Storage
    from ._state import Order

_BLOCK: Final = 1 << 20
_LONGEST_PICKLE: Final = 1 << 27
# The record that comes first differs: torch.save begins with the pickle, TorchScript with the data.
_FIRST: Final = re.compile(rb"[^/]+/(data\.pkl|data/|version|byteorder|\.)")
_OTHERS: Final = {
    "constants.pkl": "it is a TorchScript archive: save its state dict, "
    "torch.save(torch.jit.load(path).state_dict(), other)",
    "archive_format": "it is a program of torch.export: save its state dict, "
    "torch.save(torch.export.load(path).state_dict, other)",
}


@contextmanager
def _open(path: Path, reading: ReadOptions) -> Iterator[Contents]:
    refuse(path, FORMAT.name, layout=reading.layout)
    try:
        archive = zipfile.ZipFile(path)
    except DAMAGE as error:
        raise SourceError(f"{path}: {error}") from error
    with archive, path.open("rb") as file:
        try:
            records = _Records(archive, Reader(file, str(path)))
            root = Pickle(NAMES, storage_of).load(records.pickled())
            contents = contents_of(root, reading.key, records.read_storage, records.order())
        except (SourceError, PickleError) as error:
            raise SourceError(f"{path}: {error}") from error
        yield contents


class _Records:
    """The members of the archive, all in one folder, read from any thread."""

    def __init__(self, archive: zipfile.ZipFile, file: Reader) -> None:
        self._archive = archive
        self._file = file
        self._lock = threading.Lock()
        self._sound: set[str] = set()
        self._infos = {info.filename: info for info in archive.infolist()}
        for info in self._infos.values():
            check_name(info)
        self._folder = self._find_folder()

    def _find_folder(self) -> str:
        folders = dict.fromkeys(name.partition("/")[0] for name in self._infos)
        for record, refusal in _OTHERS.items():
            if any(f"{folder}/{record}" in self._infos for folder in folders):
                raise SourceError(refusal)
        found = [folder for folder in folders if f"{folder}/data.pkl" in self._infos]
        if len(found) != 1:
            raise SourceError("it is a zip archive without torch's data.pkl")
        return found[0]

    def pickled(self) -> IO[bytes]:
        """The pickle."""
        size = self._infos[f"{self._folder}/data.pkl"].file_size
        if size > _LONGEST_PICKLE:
            raise SourceError(f"the record 'data.pkl' has {size} bytes, as no state dict's")
        return io.BytesIO(self.read("data.pkl", 0, size))

    def order(self) -> Order:
        """The byte order of its machine, as numpy calls it."""
        is_told = f"{self._folder}/byteorder" in self._infos
        return ">" if is_told and self.read("byteorder", 0, 3) == b"big" else "<"

    def read_storage(self, storage: Storage, start: int, size: int) -> bytes:
        """Bytes of a storage, in the archive's byte order."""
        return self.read(f"data/{storage.key}", start, size)

    def read(self, name: str, start: int, size: int) -> bytes:
        """`size` bytes of a record; its checksum has been checked on the whole."""
        info = self._infos.get(f"{self._folder}/{name}")
        if info is None:
            raise SourceError(f"the record {name!r} is missing")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise SourceError(f"the record {name!r} is compressed, as torch writes none")
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


def _matches(head: bytes) -> bool:
    first = first_name(head)
    return _FIRST.match(first) is not None and not first.endswith(b".npy")


FORMAT: Final = Format("torch", (".pth", ".pt", ".bin"), _matches, _open)
