"""numpy's .npy files: one array, named after the file."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ...errors import SourceError
from ._numpy_array import NPY_MAGIC, describe_array
from ._source import Contents, Format, ReadOptions, reject_options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def _open(path: Path, read_options: ReadOptions) -> Iterator[Contents]:
    reject_options(FORMAT.name, layout=read_options.layout, key=read_options.key)
    start = 0 if read_options.restore == "model" else None
    try:
        size = path.stat().st_size
        tensor = describe_array(
            path.stem, lambda: path.open("rb"), size, read_options.dtypes, start
        )
    except SourceError as error:
        error.locate(tensor=path.stem)
        raise
    yield Contents([tensor])


def _matches(head: bytes) -> bool:
    return head.startswith(NPY_MAGIC)


FORMAT: Final = Format("npy", (".npy",), _matches, _open, uses_file_name=True)
