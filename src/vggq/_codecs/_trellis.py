"""Dependent quantization with 4 states: the meaning of a level depends on the levels before it.

Schwarz et al., "Hybrid video coding with trellis-coded quantization", 2019,
https://doi.org/10.1109/DCC.2019.00026. In state h = 0 a level q stands for 2q, in state h = 1 for
2q - sgn(q), in units of the step size. With p(t) the parity of level t, h(t + 1) is p(t) xor
h(t - 1), and the states start from 0. So each state is a running sum, modulo 2, of every other
parity. The sums are calculated for whole words of bits at once, without a loop over the levels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

LANE_SIZE: Final = 512
"""Number of levels of a band after which the states start again from 0."""

_WORD_BITS: Final = 64
# Multiplying two bits by this repeats them through the word.
_EVERY_OTHER_BIT: Final = np.uint64(0x5555_5555_5555_5555)


def resolve_levels(levels: NDArray[Any]) -> None:
    """Replace dependent levels by the multiples of the step size that they stand for.

    Args:
        levels: signed integers of shape (bands, levels); changed in place. The dtype has to have
            room for twice each level.

    """
    bands, count = levels.shape
    parities = np.zeros((bands, -(-count // LANE_SIZE) * LANE_SIZE), np.uint8)
    parities[:, :count] = levels
    parities &= 1
    words = np.packbits(parities, bitorder="little").view("<u8")
    states = _find_states(words.reshape(-1, LANE_SIZE // _WORD_BITS))
    bits = np.unpackbits(states.view(np.uint8).reshape(-1), bitorder="little")
    signs = np.sign(levels)
    signs *= bits.view(np.int8).reshape(bands, -1)[:, :count]
    levels += levels
    levels -= signs


def _find_states(parities: Words) -> Words:
    """Return the state before each level, at the bit of its parity; both of shape (lanes, 8)."""
    # Running sums of every other bit within each word.
    sums = parities.copy()
    for distance in (2, 4, 8, 16, 32):
        sums ^= sums << np.uint64(distance)
    # The last two sums of each word carry over to the words after it.
    carries = np.bitwise_xor.accumulate(sums >> np.uint64(_WORD_BITS - 2), axis=1)
    sums[:, 1:] ^= carries[:, :-1] * _EVERY_OTHER_BIT
    # The state before a level is the sum at the level before it.
    states: Words = sums << np.uint64(1)
    states[:, 1:] |= sums[:, :-1] >> np.uint64(_WORD_BITS - 1)
    return states
