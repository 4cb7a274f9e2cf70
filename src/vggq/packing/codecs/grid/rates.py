"""The rates of levels: the bits that each absolute level takes, from its frequency in a band."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Levels = NDArray[np.int32]
    Rates = NDArray[np.float32]

MAX_RATED_LEVEL: Final = 63
"""Larger absolute levels are assumed to take as many bits as this one."""


def estimate_rates(levels: Levels) -> Rates:
    """Return -log2 of the frequency of each absolute level, plus one bit for the sign.

    Args:
        levels: of shape (bands, levels).

    Returns:
        Bits, of shape (bands, 64).

    """
    return np.stack([_band_rates(np.minimum(np.abs(band), MAX_RATED_LEVEL)) for band in levels])


def _band_rates(band: Levels) -> Rates:
    # Half a count is added to each, so that a level that does not occur has a finite rate.
    counts = np.bincount(band, minlength=MAX_RATED_LEVEL + 1) + 0.5
    bits = np.log2(counts.sum() / counts)
    bits[1:] += 1
    rates: Rates = bits.astype(np.float32)
    return rates
