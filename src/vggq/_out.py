"""The arrays that a caller has for the tensors, held against what is to be written to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ._manifest import TensorInfo


def checked(
    out: Mapping[str, object],
    tensors: Mapping[str, TensorInfo],
    dtypes: Mapping[str, np.dtype[Any]],
) -> dict[str, NDArray[Any]]:
    """The array of each tensor, subclasses of numpy's taken for what they are underneath.

    Raises:
        OptionError: names are missing or unknown, or arrays are not of the shape and dtype they
            should be, or not writable; all of them at once.

    """
    problems = {name: "there is no such tensor" for name in out if name not in tensors}
    for name, tensor in tensors.items():
        problem = _problem(out[name], tensor, dtypes[name]) if name in out else "is missing"
        if problem:
            problems[name] = problem
    if problems:
        raise OptionError([(f"out[{name!r}]", problem) for name, problem in problems.items()])
    return {name: np.asarray(out[name]) for name in tensors}


def _problem(array: object, tensor: TensorInfo, dtype: np.dtype[Any]) -> str | None:
    if not isinstance(array, np.ndarray):
        return f"is no array but {type(array).__name__}"
    if (array.shape, array.dtype) != (tensor.shape, dtype):
        return f"is {array.dtype} of shape {array.shape}, expected {dtype} of {tensor.shape}"
    return None if array.flags.writeable else "is read-only"
