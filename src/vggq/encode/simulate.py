"""What a round trip through a packed file gives, without the file."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _decode, _dtypes, _threads
from ..errors import SourceError
from ..sources import SourceTensor, check_patterns
from .entries import encode_all
from .options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from .._manifest import TensorInfo


def simulate(
    state: Mapping[str, ArrayLike], *, bits: int = 8, keep: Iterable[str] = ()
) -> dict[str, NDArray[Any]]:
    """The arrays that packing a state dict and loading it again would give, bit for bit.

    Args:
        state: arrays by name, of any shape; a torch tensor has to be on the CPU and to need no
            gradient.
        bits: as of `pack`.
        keep: as of `pack`.

    Returns:
        Fresh arrays by the same names, in the same order: float32 for what was floating point,
        the state's own dtype for integers and booleans.

    Raises:
        OptionError: an option is out of range, or a pattern matches nothing.
        SourceError: an array is of a dtype that no packed file holds.
        MissingDependencyError: a library of the `build` extra is not installed.

    """
    options = Options(bits=bits, keep=keep if isinstance(keep, str) else tuple(keep))
    tensors = [_tensor(name, np.asarray(array)) for name, array in state.items()]
    check_patterns("keep", options.keep, list(state))
    with closing(encode_all(tensors, options, _threads.available())) as encoded:
        return {
            tensor.name: _restore(result.frame, result.describe(tensor, 0))
            for tensor, result in zip(tensors, encoded, strict=True)
        }


def _restore(frame: bytes, tensor: TensorInfo) -> NDArray[Any]:
    return _decode.restore(_decode.read(frame, tensor), tensor, tensor.dtype)


def _tensor(name: str, array: NDArray[Any]) -> SourceTensor:
    dtype = _dtypes.name_of(array.dtype)
    if dtype is None:
        raise SourceError(
            f"tensor {name!r} is of {array.dtype}, which is not supported; float32 would be"
        )
    stored = partial(np.asarray, array, _dtypes.STORAGE[dtype], order="C")
    return SourceTensor(name, dtype, array.shape, stored)
