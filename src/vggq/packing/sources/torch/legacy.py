"""Checkpoints of torch before 1.6, such as torchvision's oldest files.

A file has five pickles (magic number, version, properties of the machine, object, keys of the
storages), then the storages: each is its number of elements, as eight bytes, and its bytes.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

from ...._reader import Reader
from ....errors import SourceError
from .._source import Contents, Format, ReadOptions, reject_options
from ._globals import KNOWN_GLOBALS
from ._interpreter import PickleInterpreter
from ._model_tensors import Graph, find_model_tensors
from ._objects import Storage
from ._rebuild import load_persistent
from ._state_dict import find_contents
from ._tensors import StorageReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The pickled number 0x1950a86a20f9469cfc6c: in decimal in protocol 1, and with a frame in protocols
# 4 and 5.
_LEGACY_MAGIC: Final = re.compile(
    rb"\x80[\x02-\x05](\x95\x0d\0{7})?\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\."
    rb"|L119547037146038801333356L\n\."
)
_LEGACY_VERSION: Final = 1001
_COUNT_SIZE: Final = 8


@contextmanager
def _open(path: Path, read_options: ReadOptions) -> Iterator[Contents]:
    reject_options(FORMAT.name, layout=read_options.layout)
    with path.open("rb") as file:
        root, storages = _load_pickles(file)
        data_start = file.tell()
        data = _Storages(Reader(file, path), storages, data_start)
        reader = StorageReader(data.read, locate=data.locate)
        if read_options.restore == "model":
            yield Contents(find_model_tensors([Graph("", root, reader)]))
        else:
            yield find_contents(root, read_options.key, reader)


def _load_pickles(file: IO[bytes]) -> tuple[Any, list[Storage]]:
    """Return the pickled object, and its storages in the order of their bytes."""
    _load_plain(file)
    if _load_plain(file) != _LEGACY_VERSION:
        raise SourceError("unknown version of torch's legacy format")
    machine = _load_plain(file)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise SourceError("written on a big-endian machine; load it with torch, and save it again")
    found: dict[str, Storage] = {}

    def load_and_record(pid: Any) -> Any:
        loaded = load_persistent(pid)
        return found.setdefault(loaded.key, loaded) if isinstance(loaded, Storage) else loaded

    root = PickleInterpreter(KNOWN_GLOBALS, load_and_record).load(file)
    keys = _load_plain(file)
    if type(keys) is not list or not all(type(key) is str and key in found for key in keys):
        raise SourceError("the list of storages is damaged")
    return root, [found[key] for key in keys]


def _load_plain(file: IO[bytes]) -> Any:
    """Return the object of a pickle that refers to no globals."""
    return PickleInterpreter({}, load_persistent).load(file)


class _Storages:
    """Storages of a legacy file, whose offsets are validated against the file's size."""

    def __init__(self, file: Reader, storages: list[Storage], data_start: int) -> None:
        self._file = file
        self._starts: dict[str, int] = {}
        position = data_start
        for storage in storages:
            if not storage.kind.itemsize:
                raise SourceError(
                    f"the size of the elements of a {storage.kind.dtype} is not known; load the "
                    "checkpoint with torch and save it again"
                )
            count = int.from_bytes(file.read_at(position, _COUNT_SIZE), "little")
            start = position + _COUNT_SIZE
            if count != storage.count or start + storage.size > file.size:
                raise SourceError(f"the storage {storage.key!r} is damaged or truncated")
            self._starts[storage.key] = start
            position = start + storage.size

    def locate(self, storage: Storage) -> int | None:
        """Return the offset of a storage's first byte in the file."""
        return self._starts.get(storage.key)

    def read(self, storage: Storage, start: int, size: int) -> bytes:
        """Return `size` bytes of a storage from `start`."""
        content = b""
        if storage.key in self._starts:
            content = self._file.read_at(self._starts[storage.key] + start, size)
        if len(content) != size:
            raise SourceError(f"the storage {storage.key!r} is truncated")
        return content


def _matches(head: bytes) -> bool:
    return _LEGACY_MAGIC.match(head) is not None


FORMAT: Final = Format("torch-legacy", (".pth", ".pt", ".bin"), _matches, _open)
