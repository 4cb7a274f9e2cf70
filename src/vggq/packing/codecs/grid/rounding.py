"""Independent quantization: each level the nearest, or the one before where that is cheaper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from .rates import LARGEST

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PIECE: Final = 1 << 18


def quantize(
    bands: NDArray[np.float32], rates: NDArray[np.float32], weight: float
) -> NDArray[np.int32]:
    """The levels of bands that are given in steps; arguments as of `trellis.quantize`."""
    levels = np.empty(bands.shape, np.int32)
    for band, costs, out in zip(bands, rates * np.float32(weight), levels, strict=True):
        for begin in range(0, band.size, _PIECE):
            piece = slice(begin, begin + _PIECE)
            out[piece] = _round(band[piece], costs)
    return levels


def _round(band: NDArray[np.float32], costs: NDArray[np.float32]) -> NDArray[np.int32]:
    sizes = np.abs(band)
    nearest = np.rint(sizes).astype(np.int32)
    smaller = np.maximum(nearest - 1, 0)
    cost, other = (
        np.square(sizes - level.astype(np.float32)) + costs[np.minimum(level, LARGEST)]
        for level in (nearest, smaller)
    )
    chosen = np.where(other < cost, smaller, nearest)
    return np.where(band < 0, -chosen, chosen)
