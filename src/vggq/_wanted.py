"""Which dtype a tensor is restored as, where the caller has a say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from . import _dtypes
from .errors import MissingDependencyError, OptionError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from ._manifest import TensorInfo

Choice = Callable[["TensorInfo"], "np.dtype[Any]"]
"""The native dtype that a tensor is to be restored as."""

SOURCE: Final = "source"

_WANTED: Final = ("float16", "float32", "float64", "bfloat16")


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
    expected = f"{', '.join(_WANTED)} or {SOURCE!r}"
    try:
        # numpy knows ml_dtypes' by its type alone.
        own = isinstance(dtype, str) and dtype == "bfloat16"
        wanted = np.dtype(_ml_dtypes("dtype = 'bfloat16'").bfloat16 if own else dtype)
    except (TypeError, ValueError, SyntaxError, OverflowError) as error:
        raise OptionError([("dtype", f"is {dtype!r}, expected {expected}")]) from error
    if wanted.name not in _WANTED or not wanted.isnative:
        raise OptionError([("dtype", f"is {wanted}, expected {expected}")])
    return wanted


def _own(tensor: TensorInfo) -> np.dtype[Any]:
    """The dtype of the source.

    Raises:
        MissingDependencyError: only ml_dtypes has it, and is not installed.

    """
    name = tensor.source_dtype
    if name not in _dtypes.FOREIGN:
        return _dtypes.STORAGE[name].newbyteorder("=")
    ml_dtypes = _ml_dtypes(f"tensor {tensor.name!r} is {_dtypes.FOREIGN[name]}")
    own: np.dtype[Any] = np.dtype(getattr(ml_dtypes, _dtypes.FOREIGN[name]))
    return own


def _ml_dtypes(what: str) -> Any:
    try:
        import ml_dtypes  # noqa: PLC0415 - few files need it
    except ImportError as error:
        raise MissingDependencyError(
            f"{what}, which numpy has from ml_dtypes, and that is not installed: "
            "pip install ml_dtypes"
        ) from error
    return ml_dtypes
