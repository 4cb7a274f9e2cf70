"""Which dtype a tensor is restored as, and stored values to that dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from . import _dtypes
from .errors import MissingDependencyError, OptionError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from ._manifest import TensorInfo

Choice = Callable[["TensorInfo"], "np.dtype[Any]"]
"""The native dtype that a tensor is to be restored as."""

SOURCE: Final = "source"

_WANTED: Final = ("float16", "float32", "float64", "bfloat16")

# What numpy lacks, under the names of ml_dtypes.
_FOREIGN: Final = {
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}

# As many at a time stay in the cache.
_PIECE: Final = 1 << 16


def choice(dtype: DTypeLike | None) -> Choice:
    """What the option `dtype` of `load` asks for.

    Raises:
        OptionError: it is no dtype that floating point is restored as.

    """
    if dtype is None:
        return lambda tensor: tensor.dtype
    if isinstance(dtype, str) and dtype == SOURCE:
        return _own
    wanted = _parse(dtype)
    return lambda tensor: wanted if tensor.source_dtype in _dtypes.FLOATING else tensor.dtype


def _parse(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        wanted = np.dtype(dtype)
    except TypeError as error:
        raise OptionError([("dtype", str(error))]) from error
    if wanted.name not in _WANTED or not wanted.isnative:
        expected = f"{', '.join(_WANTED)} or {SOURCE!r}"
        raise OptionError([("dtype", f"is {wanted}, expected {expected}")])
    return wanted


def _own(tensor: TensorInfo) -> np.dtype[Any]:
    """The dtype of the source.

    Raises:
        MissingDependencyError: only ml_dtypes has it, and is not installed.

    """
    name = tensor.source_dtype
    if name not in _FOREIGN:
        return _dtypes.STORAGE[name].newbyteorder("=")
    try:
        import ml_dtypes  # noqa: PLC0415 - few files need it
    except ImportError as error:
        raise MissingDependencyError(
            f"tensor {tensor.name!r} is {_FOREIGN[name]}, which numpy has from ml_dtypes, and "
            "that is not installed: pip install ml_dtypes"
        ) from error
    own: np.dtype[Any] = np.dtype(getattr(ml_dtypes, _FOREIGN[name]))
    return own


def write(values: NDArray[Any], name: str, out: NDArray[Any]) -> None:
    """Convert `values`, in the storage dtype of `name`, into `out`; both flat and of one size.

    Piecewise, so that nothing of the size of `out` is taken. To the source's own dtype every bit
    is kept; what is too large for another becomes infinity without a warning.
    """
    if out.dtype.name == _FOREIGN.get(name):
        out.view(values.dtype.newbyteorder("="))[:] = values
        return
    # Whatever numpy has is converted at once: by way of float32 it would be rounded twice.
    through = name in _dtypes.FLOATING and values.dtype.kind != "f"
    with np.errstate(all="ignore"):
        for start in range(0, out.size, _PIECE):
            piece = values[start : start + _PIECE]
            out[start : start + _PIECE] = _dtypes.restore(piece, name) if through else piece
