"""What `torch.save` wrote before 1.6, torchvision's classic files among it.

Five pickles (a magic number, a version, facts of the machine, the object, the storages' keys), and
then each storage: its number of elements as eight bytes, and its bytes.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

from ...._reader import Reader
from ....errors import SourceError
from .._source import Contents, Format, ReadOptions, refuse
from ._names import NAMES, storage_of
from ._pickle import Pickle, PickleError
from ._state import contents_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ._objects import Storage

# 0x1950a86a20f9469cfc6c, pickled by any protocol that has binary numbers; from 4 on in a frame.
_MAGIC: Final = re.compile(rb"\x80[\x02-\x05](\x95\x0d\0{7})?\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\.")
_PROTOCOL: Final = 1001
_COUNT_BYTES: Final = 8


@contextmanager
def _open(path: Path, reading: ReadOptions) -> Iterator[Contents]:
    refuse(path, FORMAT.name, layout=reading.layout)
    with path.open("rb") as file:
        try:
            root, storages = _load(file)
            start = file.tell()
            data = _Storages(Reader(file, str(path)), storages, start)
            contents = contents_of(root, reading.key, data.read)
        except (SourceError, PickleError) as error:
            raise SourceError(f"{path}: {error}") from error
        yield contents


def _load(file: IO[bytes]) -> tuple[Any, list[Storage]]:
    """The object, and the storages in the order in which they follow."""
    _plain(file)
    if _plain(file) != _PROTOCOL:
        raise SourceError("it is of an unknown version of torch's format")
    machine = _plain(file)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise SourceError("it was written on a big-endian machine: load and save it with torch")
    seen: dict[str, Storage] = {}

    def remember(pid: Any) -> Storage:
        storage = storage_of(pid)
        return seen.setdefault(storage.key, storage)

    root = Pickle(NAMES, remember).load(file)
    keys = _plain(file)
    if type(keys) is not list or not all(type(key) is str and key in seen for key in keys):
        raise SourceError("the list of its storages is damaged")
    return root, [seen[key] for key in keys]


def _plain(file: IO[bytes]) -> Any:
    """A pickle of plain values, which names nothing."""
    return Pickle({}, storage_of).load(file)


class _Storages:
    """Where each storage's bytes lie, proved against the file's size."""

    def __init__(self, file: Reader, storages: list[Storage], start: int) -> None:
        self._file = file
        self._starts: dict[str, int] = {}
        for storage in storages:
            count = int.from_bytes(file.read_at(start, _COUNT_BYTES), "little")
            if count != storage.count or start + _COUNT_BYTES + storage.size > file.size:
                raise SourceError(f"storage {storage.key!r} is damaged or cut short")
            self._starts[storage.key] = start + _COUNT_BYTES
            start += _COUNT_BYTES + storage.size

    def read(self, storage: Storage, start: int, size: int) -> bytes:
        content = b""
        if storage.key in self._starts:
            content = self._file.read_at(self._starts[storage.key] + start, size)
        if len(content) != size:
            raise SourceError(f"storage {storage.key!r} is cut short")
        return content


def _matches(head: bytes) -> bool:
    return _MAGIC.match(head) is not None


FORMAT: Final = Format("torch-legacy", (".pth", ".pt", ".bin"), _matches, _open)
