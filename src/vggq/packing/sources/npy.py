"""numpy's .npy files: one array, which takes the file's name."""

from __future__ import annotations

import math
from contextlib import contextmanager
from functools import partial
from tokenize import TokenError
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from ... import _dtypes
from ...errors import SourceError
from ._source import Contents, Format, ReadOptions, SourceTensor, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_MAGIC: Final = b"\x93NUMPY"
# Version 3 is for structured types with names beyond Latin-1: no tensors.
_HEADER_READERS: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# What numpy raises over a damaged header depends on where the damage is.
DAMAGE: Final = (ValueError, EOFError, OSError, KeyError, TypeError, SyntaxError, MemoryError,
                 OverflowError, RecursionError, TokenError)  # fmt: skip


def read_header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], str]:
    """The shape and the dtype's safetensors name of an array in numpy's format.

    Args:
        file: stands at its beginning.
        size: of the header and the array, in bytes.

    Raises:
        SourceError: the dtype is none that can be stored, or the array is not of that size: to
            read it would take memory for what is not there.
        OSError, ValueError, …: the header is damaged; see `DAMAGE`.

    """
    shape, _, dtype = _HEADER_READERS[np.lib.format.read_magic(file)](file)
    known = _dtypes.name_of(dtype)
    if known is None:
        raise SourceError(f"is of {dtype}, which is not supported")
    held, needed = size - file.tell(), math.prod(shape) * dtype.itemsize
    if held != needed:
        raise SourceError(f"has {held} bytes, not the {needed} of its shape")
    return shape, known


def read_array(file: IO[bytes], dtype: str) -> NDArray[Any]:
    """The array, in the storage dtype of `dtype`; never a pickled object."""
    values = np.lib.format.read_array(file, allow_pickle=False)
    return np.asarray(values, _dtypes.STORAGE[dtype], order="C")


@contextmanager
def _open(path: Path, reading: ReadOptions) -> Iterator[Contents]:
    refuse(path, FORMAT.name, layout=reading.layout, key=reading.key)
    try:
        with path.open("rb") as file:
            shape, dtype = read_header(file, path.stat().st_size)
    except SourceError as error:
        raise SourceError(f"{path}: tensor {path.stem!r} {error}") from error
    except DAMAGE as error:
        raise SourceError(f"{path}: {error}") from error
    yield Contents([SourceTensor(path.stem, dtype, shape, partial(_read, path, dtype))])


def _read(path: Path, dtype: str) -> NDArray[Any]:
    try:
        with path.open("rb") as file:
            return read_array(file, dtype)
    except DAMAGE as error:
        raise SourceError(f"{path}: {error}") from error


def _matches(head: bytes) -> bool:
    return head.startswith(_MAGIC)


FORMAT: Final = Format("npy", (".npy",), _matches, _open)
