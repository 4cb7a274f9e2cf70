"""An array in numpy's binary format, in a file of its own or in an archive.

https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import io
import math
import re
import zipfile
import zlib
from dataclasses import dataclass, replace
from functools import partial
from tokenize import TokenError
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from ... import _dtypes
from ..._json import MAX_DIMENSIONS
from ...errors import SourceError
from ._places import Place
from ._source import SourceTensor, unsupported_tensor
from ._untyped import declared_dtype, is_untyped, untyped_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    OpenFile = Callable[[], AbstractContextManager[IO[bytes]]]

NPY_MAGIC: Final = b"\x93NUMPY"
# Version 3 serves only names outside Latin-1 in structured dtypes, which are not supported.
_LENGTH_SIZES: Final = {(1, 0): 2, (2, 0): 4, (3, 0): 4}
_HEADER_READERS: Final = {
    2: np.lib.format.read_array_header_1_0,
    4: np.lib.format.read_array_header_2_0,
}
_MAX_HEADER_SIZE: Final = 1 << 16
_READ_SIZE: Final = 1 << 20
_DESCR: Final = re.compile(rb"(?<='descr': ')[<>|=]([A-Za-z][0-9]+)(?=')")
# The exception that numpy or zipfile raises for damage depends on where the damage is.
ARRAY_ERRORS: Final = (ValueError, EOFError, OSError, KeyError, TypeError, SyntaxError, MemoryError,
                       OverflowError, RuntimeError, TokenError, zipfile.BadZipFile,
                       zlib.error)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Header:
    """The header of an array; `fortran_order` says whether the first axis varies fastest."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]


def describe_array(
    name: str,
    open_file: OpenFile,
    size: int,
    declarations: Sequence[tuple[str, str]],
    start: int | None = None,
) -> SourceTensor:
    """Return an array as a tensor, which has a problem if its dtype cannot be packed.

    Args:
        name: name of the tensor.
        open_file: opens the file at the start of the array.
        size: bytes of the header and the values.
        declarations: the option `dtypes`.
        start: the offset in the file to restore at which the array starts; the tensor then has a
            place, or a problem that says why it has none. None if no file is restored.

    Raises:
        SourceError: the size does not fit the shape: reading would allocate memory for values that
            are not there; or the header is damaged.

    """
    header, available = _read_checked_header(open_file, size)
    untyped = is_untyped(header.dtype)
    declared = declared_dtype(name, header.dtype, declarations) if untyped else None
    dtype = declared or _dtypes.dtype_name(header.dtype)
    if dtype is None or len(header.shape) > MAX_DIMENSIONS:
        problem = untyped_problem(name, header.dtype) if untyped else _unsupported_reason(header)
        tensor = unsupported_tensor(name, problem, dtype=str(header.dtype), shape=header.shape)
    else:
        _check_array_size(header, available)
        tensor = SourceTensor(name, dtype, header.shape, partial(_read_array, open_file, dtype))
        if start is not None:
            tensor = _locate(tensor, header, start + size - available)
    return replace(tensor, untyped=untyped)


def _locate(tensor: SourceTensor, header: _Header, start: int) -> SourceTensor:
    """Return a tensor with its place, if its elements are plain."""
    if not tensor.count:
        return tensor
    if header.dtype.newbyteorder("<") != header.dtype:
        return replace(tensor, problem="its byte order is big-endian")
    if header.fortran_order and sum(size > 1 for size in header.shape) > 1:
        return replace(tensor, problem="its elements are in Fortran order in the file")
    return replace(tensor, place=Place(0, start, tensor.count * header.dtype.itemsize))


def _unsupported_reason(header: _Header) -> str:
    if len(header.shape) > MAX_DIMENSIONS:
        return f"tensors of more than {MAX_DIMENSIONS} dimensions are not supported"
    return f"the dtype {header.dtype} is not supported"


def _check_array_size(header: _Header, available: int) -> None:
    if min(header.shape, default=0) < 0:
        raise SourceError(f"damaged: the shape {header.shape} is invalid")
    expected = math.prod(header.shape) * header.dtype.itemsize
    if available != expected:
        raise SourceError(f"has {available} bytes of values, but its shape needs {expected}")


def _read_checked_header(open_file: OpenFile, size: int) -> tuple[_Header, int]:
    """Return the header, and the number of bytes that follow it."""
    try:
        with open_file() as file:
            return _read_header(file), size - file.tell()
    except ARRAY_ERRORS as error:
        raise SourceError(f"damaged: {error}") from error


def _read_header(file: IO[bytes]) -> _Header:
    length_size = _LENGTH_SIZES[np.lib.format.read_magic(file)]
    length = file.read(length_size)
    text = file.read(min(int.from_bytes(length, "little"), _MAX_HEADER_SIZE))
    text = _DESCR.sub(_readable_descr, text)
    return _Header(*_HEADER_READERS[length_size](io.BytesIO(length + text)))


def _readable_descr(match: re.Match[bytes]) -> bytes:
    """Return a dtype that numpy can read, with as many characters.

    numpy writes some dtypes of ml_dtypes, such as `<f1`, in a way that it cannot read.
    """
    try:
        np.dtype(match[0].decode())
    except (TypeError, ValueError, OverflowError):
        return b"|V" + match[1][1:]
    return match[0]


def _read_array(open_file: OpenFile, dtype: str) -> NDArray[Any]:
    """Return the array in the storage dtype of `dtype`; pickled objects are never loaded."""
    try:
        with open_file() as file:
            header = _read_header(file)
            values = np.empty(math.prod(header.shape), header.dtype)
            _fill(file, values.view(np.uint8).data)
    except ARRAY_ERRORS as error:
        raise SourceError(f"damaged: {error}") from error
    if header.dtype.kind == "V":
        values = values.view(_dtypes.STORAGE[dtype])
    shape = header.shape
    array = values.reshape(shape[::-1]).T if header.fortran_order else values.reshape(shape)
    return np.asarray(array, _dtypes.STORAGE[dtype], order="C")


def _fill(file: IO[bytes], view: memoryview) -> None:
    filled = 0
    # zipfile copies what is read at once, and compares the checksum at the end of the file.
    while chunk := file.read(_READ_SIZE):
        end = filled + len(chunk)
        if end <= len(view):
            view[filled:end] = chunk
        filled = end
    if filled != len(view):
        raise ValueError(f"{filled} bytes of values, expected {len(view)}")
