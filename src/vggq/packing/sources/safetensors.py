"""safetensors files.

Read without the safetensors library, which needs another framework for bfloat16 and maps the file
into memory.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..._container import LENGTH_SIZE
from ..._dtypes import STORAGE
from ..._json import is_shape
from ..._manifest_json import METADATA_KEY
from ..._reader import Reader
from ...errors import HeaderError, SourceError
from ._places import Place, read_exactly
from ._remarks import remark_unpacked
from ._safetensors_header import read_checkpoint_header
from ._source import Contents, Format, ReadOptions, SourceTensor, reject_options, unsupported_tensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from ..._container import Entry


# The framework that wrote the file, such as "pt".
_FRAMEWORK_KEY: Final = "format"
_WHITESPACE: Final = b" \t\n\r"


@contextmanager
def _open(path: Path, read_options: ReadOptions) -> Iterator[Contents]:
    reject_options(FORMAT.name, layout=read_options.layout, key=read_options.key)
    with path.open("rb") as binary:
        file = Reader(binary, path)
        try:
            header = read_checkpoint_header(file.read_at, file.size)
        except HeaderError as error:
            raise SourceError(error.reason) from error
        if METADATA_KEY in header.metadata:
            raise SourceError(
                "already a packed file; use the checkpoint that it was packed from, or the output "
                "of `vggq unpack`"
            )
        tensors = [_describe_entry(file, *item) for item in header.entries.items()]
        metadata = [key for key in header.metadata if key != _FRAMEWORK_KEY]
        is_complete = read_options.restore == "model"
        yield Contents(
            tensors, remarks=() if is_complete else remark_unpacked({"metadata": metadata})
        )


def _describe_entry(file: Reader, name: str, entry: Entry) -> SourceTensor:
    if entry.dtype not in STORAGE or not is_shape(list(entry.shape)):
        what = "shape" if entry.dtype in STORAGE else "dtype"
        found = list(entry.shape) if entry.dtype in STORAGE else entry.dtype
        problem = f"the {what} {found} is not supported"
        return unsupported_tensor(name, problem, dtype=entry.dtype, shape=entry.shape)
    place = Place(0, entry.start, entry.size)
    read = partial(_read_entry, file, entry)
    return SourceTensor(name, entry.dtype, entry.shape, read, place=place)


def _read_entry(file: Reader, entry: Entry) -> NDArray[Any]:
    content = read_exactly(file, entry.start, entry.size)
    return np.frombuffer(content, STORAGE[entry.dtype]).reshape(entry.shape)


def _matches(head: bytes) -> bool:
    return head[LENGTH_SIZE:].lstrip(_WHITESPACE).startswith(b"{")


FORMAT: Final = Format("safetensors", (".safetensors",), _matches, _open)
