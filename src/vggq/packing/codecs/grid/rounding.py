"""Independent quantization: the nearest level, or the next one towards zero if that is cheaper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from .rates import MAX_RATED_LEVEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK: Final = 1 << 18


def quantize(
    bands: NDArray[np.float32], rates: NDArray[np.float32], multiplier: float
) -> NDArray[np.int32]:
    """Return the levels of bands that are in units of the step size.

    Args:
        bands: of shape (bands, levels).
        rates: bits of each absolute level, from `estimate_rates`.
        multiplier: the Lagrange multiplier: the cost of a bit in squared steps.

    """
    levels = np.empty(bands.shape, np.int32)
    for band, costs, out in zip(bands, rates * np.float32(multiplier), levels, strict=True):
        for begin in range(0, band.size, _CHUNK):
            chunk = slice(begin, begin + _CHUNK)
            out[chunk] = _round_to_cheaper(band[chunk], costs)
    return levels


def _round_to_cheaper(band: NDArray[np.float32], costs: NDArray[np.float32]) -> NDArray[np.int32]:
    magnitudes = np.abs(band)
    nearest = np.rint(magnitudes).astype(np.int32)
    smaller = np.maximum(nearest - 1, 0)
    cost, other = (
        np.square(magnitudes - level.astype(np.float32)) + costs[np.minimum(level, MAX_RATED_LEVEL)]
        for level in (nearest, smaller)
    )
    chosen = np.where(other < cost, smaller, nearest)
    return np.where(band < 0, -chosen, chosen)
