"""The encoder of the ``codebook`` codec: k-means centroids, and the nearest one for each weight."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...._codecs import Codebook
from ..scales import scale_slices
from .kmeans import find_centroids
from .sorted_values import unique_up_to

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Weights at a time: numpy.searchsorted returns eight bytes for each.
_CHUNK: Final = 1 << 18


def encode(
    values: NDArray[np.float32], bits: int, axis: int | None = None
) -> tuple[Codebook, bytes]:
    """Quantize finite weights of any shape to a codebook of at most 2^bits centroids.

    Args:
        values: the weights.
        bits: bits of a code.
        axis: the axis of the slices that get scales; None for no scales. Weights with at most
            2^bits distinct values get none either, because nothing of them is lost without scales.

    Returns:
        The codec with its parameters, and the content of the entry before compression.

    Raises:
        MissingDependencyError: kmeans1d is needed and not installed.

    """
    if axis is None or unique_up_to(np.sort(values, axis=None), 1 << bits) is not None:
        return _encode(values, bits)
    scaled = scale_slices(values, axis)
    codec, content = _encode(scaled.values, bits)
    return replace(codec, slices=scaled.slices), scaled.stored + content


def _encode(values: NDArray[np.float32], bits: int) -> tuple[Codebook, bytes]:
    codebook = find_centroids(values, 1 << bits)
    codec = Codebook(codebook.size)
    packed = _pack_codes(_nearest_codes(values.reshape(-1), codebook), codec.width)
    return codec, codebook.astype("<f4").tobytes() + packed.tobytes()


def _nearest_codes(values: NDArray[np.float32], codebook: NDArray[np.float32]) -> NDArray[np.uint8]:
    # The midpoint of two float32 values is exact in float64, so every code is the nearest one.
    midpoints = (codebook[1:].astype(np.float64) + codebook[:-1]) / 2
    codes = np.empty(values.size, np.uint8)
    for begin in range(0, values.size, _CHUNK):
        chunk = slice(begin, begin + _CHUNK)
        codes[chunk] = np.searchsorted(midpoints, values[chunk])
    return codes


def _pack_codes(codes: NDArray[np.uint8], width: int) -> NDArray[Any]:
    """Pack codes of `width` bits into bytes, the first code in the lowest bits."""
    per_byte = 8 // width
    if per_byte == 1:
        return codes
    padded = np.zeros(-(-codes.size // per_byte) * per_byte, np.uint8)
    padded[: codes.size] = codes
    shifts = np.arange(0, 8, width, dtype=np.uint8)
    packed: NDArray[Any] = np.bitwise_or.reduce(padded.reshape(-1, per_byte) << shifts, axis=1)
    return packed
