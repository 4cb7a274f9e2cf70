"""Levels that depend on those before them: 4-state dependent quantization.

Schwarz et al., "Hybrid video coding with trellis-coded quantization", 2019,
https://doi.org/10.1109/DCC.2019.00026. In the state h = 0 a level q stands for 2q, in h = 1 for
2q - sgn(q). After the parities p the state is h(t + 1) = p(t) xor h(t - 1), from 0 on: running sums
of every other parity, which take no loop over the levels but are made in whole words of bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

LANE: Final = 512
"""After so many levels of a band the dependency begins anew."""
_WORD: Final = 64
# Twice a number of two bits over and over: a carry for every other bit.
_EVERY_OTHER: Final = np.uint64(0x5555_5555_5555_5555)


def resolve(levels: NDArray[Any]) -> None:
    """Dependent levels, of shape (bands, levels), to multiples of the step, in place."""
    bands, count = levels.shape
    parity = np.zeros((bands, -(-count // LANE) * LANE), np.uint8)
    parity[:, :count] = levels
    parity &= 1
    words = np.packbits(parity, bitorder="little").view("<u8").reshape(-1, LANE // _WORD)
    states = np.unpackbits(_states(words).view(np.uint8).reshape(-1), bitorder="little")
    signs = np.sign(levels)
    signs *= states.view(np.int8).reshape(bands, -1)[:, :count]
    levels += levels
    levels -= signs


def _states(parities: Words) -> Words:
    """The state before each level of each lane, in the place of its parity; of shape (lanes, 8)."""
    sums = parities.copy()
    for distance in (2, 4, 8, 16, 32):
        sums ^= sums << np.uint64(distance)
    last_two = np.bitwise_xor.accumulate(sums >> np.uint64(_WORD - 2), axis=1)
    sums[:, 1:] ^= last_two[:, :-1] * _EVERY_OTHER
    states: Words = sums << np.uint64(1)
    states[:, 1:] |= sums[:, :-1] >> np.uint64(_WORD - 1)
    return states
