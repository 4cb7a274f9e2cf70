"""numpy's .npy files: one array, named after the file."""

from __future__ import annotations

import math
from contextlib import contextmanager
from functools import partial
from tokenize import TokenError
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from ... import _dtypes
from ...errors import SourceError
from ._source import Contents, Format, ReadOptions, SourceTensor, reject_options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_NPY_MAGIC: Final = b"\x93NUMPY"
# Version 3 serves only structured dtypes with names outside Latin-1, which no weights have.
_HEADER_READERS: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# The exception that numpy raises for a damaged header depends on where the damage is.
NPY_ERRORS: Final = (ValueError, EOFError, OSError, KeyError, TypeError, SyntaxError, MemoryError,
                     OverflowError, RecursionError, TokenError)  # fmt: skip


def read_npy_header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], str]:
    """Return the shape, and the safetensors name of the dtype, of an array in numpy's format.

    Args:
        file: positioned at the start of the array.
        size: bytes of the header and the values.

    Raises:
        SourceError: the dtype is not supported, or the size does not fit the shape: reading
            would allocate memory for values that are not there.
        OSError, ValueError, …: the header is damaged; see `NPY_ERRORS`.

    """
    shape, _, dtype = _HEADER_READERS[np.lib.format.read_magic(file)](file)
    name = _dtypes.dtype_name(dtype)
    if name is None:
        raise SourceError(f"the dtype {dtype} is not supported")
    found, expected = size - file.tell(), math.prod(shape) * dtype.itemsize
    if found != expected:
        raise SourceError(f"has {found} bytes of values, but its shape needs {expected}")
    return shape, name


def read_npy_array(file: IO[bytes], dtype: str) -> NDArray[Any]:
    """Return the array in the storage dtype of `dtype`; pickled objects are never loaded."""
    values = np.lib.format.read_array(file, allow_pickle=False)
    return np.asarray(values, _dtypes.STORAGE[dtype], order="C")


@contextmanager
def _open(path: Path, read_options: ReadOptions) -> Iterator[Contents]:
    reject_options(FORMAT.name, layout=read_options.layout, key=read_options.key)
    try:
        with path.open("rb") as file:
            shape, dtype = read_npy_header(file, path.stat().st_size)
    except SourceError as error:
        error.locate(tensor=path.stem)
        raise
    except NPY_ERRORS as error:
        raise SourceError(f"damaged .npy file: {error}") from error
    yield Contents([SourceTensor(path.stem, dtype, shape, partial(_read_file, path, dtype))])


def _read_file(path: Path, dtype: str) -> NDArray[Any]:
    try:
        with path.open("rb") as file:
            return read_npy_array(file, dtype)
    except NPY_ERRORS as error:
        raise SourceError(f"damaged .npy file: {error}") from error


def _matches(head: bytes) -> bool:
    return head.startswith(_NPY_MAGIC)


FORMAT: Final = Format("npy", (".npy",), _matches, _open)
