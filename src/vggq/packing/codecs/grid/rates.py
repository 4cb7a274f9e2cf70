"""What levels cost: bits by how often each absolute level comes in its band."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Levels = NDArray[np.int32]
    Rates = NDArray[np.float32]

LARGEST: Final = 63
"""Levels beyond are taken to cost what this one does."""


def rates_of(levels: Levels) -> Rates:
    """-log2 of the frequency of each absolute level, with its sign, of shape (bands, 64)."""
    return np.stack([_rates(np.minimum(np.abs(band), LARGEST)) for band in levels])


def _rates(band: Levels) -> Rates:
    counts = np.bincount(band, minlength=LARGEST + 1) + 0.5
    bits = np.log2(counts.sum() / counts)
    bits[1:] += 1
    rates: Rates = bits.astype(np.float32)
    return rates
