"""numpy arrays in the pickle of a checkpoint, whose values are read without unpickling them."""

from __future__ import annotations

import math
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from ...._dtypes import STORAGE, dtype_name
from ...._json import MAX_DIMENSIONS
from ....errors import SourceError
from .._source import SourceTensor
from ._objects import Placeholder, UnknownGlobal
from ._rebuild import is_small_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CORE_MODULES: Final = ("numpy.core", "numpy._core")
_RECONSTRUCT: Final = frozenset(f"{core}.multiarray._reconstruct" for core in _CORE_MODULES)
_FROM_BUFFER: Final = frozenset(f"{core}.numeric._frombuffer" for core in _CORE_MODULES)
_MAKERS: Final = _RECONSTRUCT | _FROM_BUFFER
_DTYPE_CODE: Final = re.compile("b1|[iu][1248]|f[248]|c(8|16)")
_MAX_EMPTY: Final = 1 << 24
_BYTE_ORDERS: Final[dict[str, Literal["<", ">"]]] = {"<": "<", ">": ">", "|": "<", "=": "<"}


def describe_pickled_array(name: str, value: Any) -> SourceTensor | None:
    """Return the numpy array that a placeholder stands for.

    Returns:
        The array, or None if the object is not an array, or is one of strings, of objects, or of
        another dtype that tensors do not have.

    """
    parts = _parts_of_array(value)
    if parts is None:
        return None
    shape, dtype, is_fortran, content = parts
    parsed = _parse_pickled_dtype(dtype)
    if parsed is None or not isinstance(content, bytes | bytearray | str) or not _is_shape(shape):
        return None
    stored = dtype_name(parsed)
    if stored is None or math.prod(shape) * parsed.itemsize != len(content):
        return None
    # numpy rejects empty arrays that would be too large without their sizes of 0.
    if math.prod(size or 1 for size in shape) > max(len(content), _MAX_EMPTY):
        return None
    order = "F" if is_fortran else "C"
    return SourceTensor(name, stored, shape, partial(_read_values, content, parsed, shape, order))


def is_array(value: Any) -> bool:
    """Return whether a value is a numpy array that `describe_pickled_array` can describe."""
    return describe_pickled_array("", value) is not None


def _parts_of_array(value: Any) -> tuple[Any, Any, Any, Any] | None:
    """Return the shape, the dtype, whether the order is that of Fortran, and the bytes."""
    if not isinstance(value, Placeholder) or not isinstance(value.maker, UnknownGlobal):
        return None
    if value.maker.name not in _MAKERS:
        return None
    if value.maker.name in _FROM_BUFFER and len(value.arguments) == 4:
        content, dtype, shape, order = value.arguments
        return shape, dtype, order == "F", content
    state = value.parts[-1] if value.parts and value.kind == "numpy.ndarray" else None
    if type(state) is tuple and len(state) == 5:
        _, shape, dtype, is_fortran, content = state
        return shape, dtype, is_fortran, content
    return None


def _parse_pickled_dtype(value: Any) -> np.dtype[Any] | None:
    """Return the dtype of numbers that a placeholder stands for; None for any other dtype."""
    if not isinstance(value, Placeholder) or value.kind != "numpy.dtype" or not value.arguments:
        return None
    code = value.arguments[0]
    if type(code) is not str or not _DTYPE_CODE.fullmatch(code):
        return None
    state = value.parts[-1] if value.parts else None
    byte_order = state[1] if type(state) is tuple and len(state) > 1 else "<"
    known = _BYTE_ORDERS.get(byte_order) if type(byte_order) is str else None
    return None if known is None else np.dtype(code).newbyteorder(known)


def _is_shape(shape: Any) -> bool:
    return type(shape) is tuple and len(shape) <= MAX_DIMENSIONS and all(map(is_small_count, shape))


def _read_values(
    content: bytes | bytearray | str, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any
) -> NDArray[Any]:
    # Pickle protocols up to 2 store bytes as a string of Latin-1.
    try:
        plain = content.encode("latin-1") if isinstance(content, str) else content
        values = np.frombuffer(plain, dtype).reshape(shape, order=order) if plain else None
    except ValueError as error:
        raise SourceError(f"a damaged numpy array: {error}") from error
    stored = STORAGE[str(dtype_name(dtype))]
    return np.zeros(shape, stored) if values is None else np.asarray(values, stored, order="C")
