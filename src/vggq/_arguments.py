"""Validate the arguments of `load`: the dtype to restore, and the caller's own arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from . import _dtypes
from .errors import MissingDependencyError, OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

    from ._manifest import TensorInfo

DtypeOf = Callable[["TensorInfo"], "np.dtype[Any]"]
"""Called with the description of a tensor; returns the native dtype to restore it as."""

SOURCE: Final = "source"

_SUPPORTED_DTYPES: Final = ("float16", "float32", "float64", "bfloat16")


def resolve_dtype(dtype: DTypeLike | None) -> DtypeOf:
    """Return the dtype of each tensor for the argument `dtype` of `load`.

    Raises:
        OptionError: floating-point tensors cannot be restored as this dtype.

    """
    if dtype is None:
        return lambda tensor: tensor.dtype
    if isinstance(dtype, str) and dtype == SOURCE:
        return _source_dtype
    parsed = _parse_dtype(dtype)
    return lambda tensor: parsed if tensor.source_dtype in _dtypes.FLOATING else tensor.dtype


def _parse_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    expected = f"{', '.join(_SUPPORTED_DTYPES)} or {SOURCE!r}"
    if isinstance(dtype, str) and dtype == "bfloat16":
        # numpy accepts the dtypes of ml_dtypes as types, not by name.
        dtype = _import_ml_dtypes("bfloat16").bfloat16
    try:
        parsed = np.dtype(dtype)
    except Exception as error:
        # Also a warning that the caller turned into an error, for an old name of a dtype.
        raise OptionError([("dtype", f"expected {expected}, found {dtype!r}")]) from error
    if parsed.name not in _SUPPORTED_DTYPES or not parsed.isnative:
        raise OptionError([("dtype", f"expected {expected}, found {parsed}")])
    return parsed


def _source_dtype(tensor: TensorInfo) -> np.dtype[Any]:
    """Return the dtype of the tensor in its source.

    Raises:
        MissingDependencyError: the dtype needs ml_dtypes, which is not installed.

    """
    name = tensor.source_dtype
    if name not in _dtypes.ML_DTYPES:
        return _dtypes.STORAGE[name].newbyteorder("=")
    foreign = _dtypes.ML_DTYPES[name]
    dtype: np.dtype[Any] = np.dtype(getattr(_import_ml_dtypes(foreign, tensor.name), foreign))
    return dtype


def _import_ml_dtypes(dtype: str, tensor: str | None = None) -> Any:
    try:
        import ml_dtypes  # noqa: PLC0415 - few files need it
    except ImportError as error:
        raise MissingDependencyError(
            f"dtype {dtype} needs ml_dtypes; run `pip install ml_dtypes`", tensor=tensor
        ) from error
    return ml_dtypes


def validate_out(
    out: Mapping[str, object],
    tensors: Mapping[str, TensorInfo],
    dtypes: Mapping[str, np.dtype[Any]],
) -> dict[str, NDArray[Any]]:
    """Return the caller's array for each tensor; subclasses of ndarray as plain ndarrays.

    Args:
        out: the argument `out` of `load`.
        tensors: the tensors of the packed file.
        dtypes: the dtype to restore each tensor as.

    Raises:
        OptionError: `out` is no mapping, names are missing or unknown, or an array has the wrong
            shape or dtype, or is read-only; all problems in one error.

    """
    if not hasattr(out, "keys"):
        raise OptionError([("out", f"expected arrays by name, found {type(out).__name__}")])
    problems = {name: "no tensor has this name" for name in out if name not in tensors}
    for name, tensor in tensors.items():
        problem = _find_problem(out[name], tensor, dtypes[name]) if name in out else "missing"
        if problem:
            problems[name] = problem
    if problems:
        raise OptionError([(f"out[{name!r}]", problem) for name, problem in problems.items()])
    return {name: np.asarray(out[name]) for name in tensors}


def _find_problem(array: object, tensor: TensorInfo, dtype: np.dtype[Any]) -> str | None:
    if not isinstance(array, np.ndarray):
        return f"expected a numpy array, found {type(array).__name__}"
    if (array.shape, array.dtype) != (tensor.shape, dtype):
        return (
            f"expected {dtype} of shape {tensor.shape}, found {array.dtype} of shape {array.shape}"
        )
    return None if array.flags.writeable else "read-only"
