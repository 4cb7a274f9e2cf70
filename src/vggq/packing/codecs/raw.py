"""The storing half of the ``raw`` codec, and which tensors it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ... import _dtypes
from ..._codecs import Raw
from ..sources import matches

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from ..sources import SourceTensor

LEAST_ELEMENTS: Final = 1000
LEAST_DIMENSIONS: Final = 2


def encode(stored: NDArray[Any], dtype: str) -> tuple[Raw, bytes]:
    """Return the codec and the bytes of a little-endian array of any shape."""
    return Raw(dtype), stored.tobytes()


def is_kept(tensor: SourceTensor, patterns: Iterable[str]) -> bool:
    """Whether a tensor is to be stored exactly, from what is known before it is read.

    Integers and booleans are, and what is small (fewer than 1,000 elements) or has fewer than
    two dimensions (biases, norms), and whatever a pattern names.
    """
    return (
        tensor.dtype not in _dtypes.FLOATING
        or len(tensor.shape) < LEAST_DIMENSIONS
        or tensor.count < LEAST_ELEMENTS
        or matches(tensor.name, patterns)
    )


def count_non_finite(values: NDArray[np.float32]) -> int:
    """How many of the weights are NaN or infinite: k-means can take none."""
    return values.size - int(np.isfinite(values).sum())
