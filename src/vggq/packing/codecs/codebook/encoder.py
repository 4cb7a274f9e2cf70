"""The storing half of the ``codebook`` codec: k-means centroids and the nearest one's code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...._codecs import Codebook
from .kmeans import centroids

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Indices take eight bytes each: only so many at a time.
_PIECE: Final = 1 << 18


def encode(values: NDArray[np.float32], bits: int) -> tuple[Codebook, bytes]:
    """Quantize finite weights of any shape to a codebook of at most 2^bits centroids.

    Returns:
        The codec with its parameters, and the content of the entry before compression.

    Raises:
        MissingDependencyError: kmeans1d is needed and not installed.

    """
    codebook = centroids(values, 1 << bits)
    codec = Codebook(codebook.size)
    packed = _pack(_nearest(values.reshape(-1), codebook), codec.width)
    return codec, codebook.astype("<f4").tobytes() + packed.tobytes()


def _nearest(values: NDArray[np.float32], codebook: NDArray[np.float32]) -> NDArray[np.uint8]:
    # Halfway between two float32 is exact in float64, so every code is that of the nearest.
    middle = (codebook[1:].astype(np.float64) + codebook[:-1]) / 2
    codes = np.empty(values.size, np.uint8)
    for begin in range(0, values.size, _PIECE):
        piece = slice(begin, begin + _PIECE)
        codes[piece] = np.searchsorted(middle, values[piece])
    return codes


def _pack(codes: NDArray[np.uint8], width: int) -> NDArray[Any]:
    """Several codes to a byte, the first in the lowest bits."""
    per_byte = 8 // width
    if per_byte == 1:
        return codes
    padded = np.zeros(-(-codes.size // per_byte) * per_byte, np.uint8)
    padded[: codes.size] = codes
    shifts = np.arange(0, 8, width, dtype=np.uint8)
    packed: NDArray[Any] = np.bitwise_or.reduce(padded.reshape(-1, per_byte) << shifts, axis=1)
    return packed
