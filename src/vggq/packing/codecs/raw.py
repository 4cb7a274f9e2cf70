"""The encoder of the ``raw`` codec, and the rule that selects the tensors stored with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ... import _dtypes
from ..._codecs import Raw
from ..sources import matches_any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from ..sources import SourceTensor

MIN_ELEMENTS: Final = 1000
"""Tensors with fewer elements are stored exactly."""
MIN_DIMENSIONS: Final = 2
"""Tensors with fewer dimensions are stored exactly."""


def encode(stored: NDArray[Any], dtype: str) -> tuple[Raw, bytes]:
    """Return the codec and the content of a little-endian array of any shape."""
    return Raw(dtype), stored.tobytes()


def is_stored_exactly(tensor: SourceTensor, patterns: Iterable[str]) -> bool:
    """Return whether a tensor is stored exactly, which is decided before it is read.

    Integers and booleans are stored exactly, and so are tensors with fewer than 1,000 elements,
    tensors with fewer than two dimensions (biases, norms), and tensors that a pattern names.
    """
    return (
        tensor.dtype not in _dtypes.FLOATING
        or len(tensor.shape) < MIN_DIMENSIONS
        or tensor.count < MIN_ELEMENTS
        or matches_any(tensor.name, patterns)
    )


def count_non_finite(values: NDArray[np.float32]) -> int:
    """Count the NaN and infinite values, which no quantizer accepts."""
    return values.size - int(np.isfinite(values).sum())
