"""safetensors files.

Read with the container's own reader: the library maps the file, and knows no bfloat16 where
numpy is all there is.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..._container import LENGTH_BYTES, read_header
from ..._dtypes import STORAGE
from ..._manifest_json import METADATA_KEY
from ..._reader import Reader
from ...errors import HeaderError, SourceError
from ._source import Contents, Format, ReadOptions, SourceTensor, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from ..._container import Entry


@contextmanager
def _open(path: Path, reading: ReadOptions) -> Iterator[Contents]:
    refuse(path, FORMAT.name, layout=reading.layout, key=reading.key)
    with path.open("rb") as binary:
        file = Reader(binary, str(path))
        try:
            header = read_header(file.read_at, file.size)
        except HeaderError as error:
            raise SourceError(f"{path}: {error}") from error
        if METADATA_KEY in header.metadata:
            raise SourceError(
                f"{path} is a packed file already: give the checkpoint that it was packed from, "
                "or what `vggq unpack` makes of it"
            )
        yield Contents([_tensor(file, name, entry) for name, entry in header.entries.items()])


def _tensor(file: Reader, name: str, entry: Entry) -> SourceTensor:
    if entry.dtype not in STORAGE:
        raise SourceError(
            f"{file.name}: tensor {name!r} is of {entry.dtype}, which is not supported"
        )
    return SourceTensor(name, entry.dtype, entry.shape, partial(_read, file, name, entry))


def _read(file: Reader, name: str, entry: Entry) -> NDArray[Any]:
    content = file.read_at(entry.start, entry.size)
    if len(content) != entry.size:
        raise SourceError(f"{file.name}: tensor {name!r} was cut short while it was read")
    return np.frombuffer(content, STORAGE[entry.dtype]).reshape(entry.shape)


def _matches(head: bytes) -> bool:
    return head[LENGTH_BYTES : LENGTH_BYTES + 1] == b"{"


FORMAT: Final = Format("safetensors", (".safetensors",), _matches, _open)
