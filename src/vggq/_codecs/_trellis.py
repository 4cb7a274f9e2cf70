"""Dependent quantization: the meaning of a level depends on the levels before it.

Schwarz et al., "Hybrid video coding with trellis-coded quantization", 2019,
https://doi.org/10.1109/DCC.2019.00026. Where the bit h is 0, a level q stands for 2q, where h is 1
for 2q - sgn(q), in units of the step size. With p(t) the parity of level t, the bits h satisfy a
parity check of a convolutional code: the sum of a(k) h(t - k) + b(k) p(t - k) over all k is even.
`POLYNOMIALS` has the coefficients a and b, which Ungerboeck found: "Channel coding with
multilevel/phase signals", 1982, https://doi.org/10.1109/TIT.1982.1056454.

The parity check is linear, so h is the product of the polynomial p with b, divided by a, in
arithmetic modulo 2. It is calculated for whole words of bits at once, without a loop over levels.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ._scratch import Scratch

    Words = NDArray[np.uint64]

LANE_SIZE: Final = 512
"""Number of levels of a band after which h starts again from 0."""

POLYNOMIALS: Final = {
    4: (0o5, 0o2),
    8: (0o13, 0o4),
    16: (0o23, 0o4),
    32: (0o45, 0o10),
    64: (0o103, 0o24),
    128: (0o235, 0o126),
    256: (0o515, 0o362),
}
"""The coefficients a and b by the number of states; bit k is the coefficient at a distance of k."""

STATES: Final = (1, *POLYNOMIALS)
"""Possible numbers of states; with one state, levels are independent."""

_WORD_BITS: Final = 64
# Lanes to process at a time: the intermediate results stay in the cache.
_CHUNK: Final = 1 << 13


def resolve_levels(levels: NDArray[Any], states: int, scratch: Scratch) -> None:
    """Replace dependent levels by the multiples of the step size that they stand for.

    Args:
        levels: signed integers of shape (bands, levels); changed in place. The dtype has to have
            room for twice each level.
        states: the number of states, 4 to 256.
        scratch: memory for intermediate results.

    """
    bits = _pack_parities(levels, scratch)
    choose_quantizers(bits, states)
    chosen = np.unpackbits(bits, axis=1, count=levels.shape[1], bitorder="little")
    signs = np.sign(levels, out=scratch.take("signs", levels.shape, levels.dtype))
    signs *= chosen.view(np.int8)
    levels += levels
    levels -= signs


def _pack_parities(levels: NDArray[Any], scratch: Scratch) -> NDArray[np.uint8]:
    """Return the parities of whole lanes of each band, eight in a byte; 0 after the last level."""
    bands, count = levels.shape
    padded = -(-count // LANE_SIZE) * LANE_SIZE
    parities = scratch.take("parities", (bands, padded), np.dtype(np.uint8))
    parities[:, :count] = levels
    parities[:, count:] = 0
    parities &= 1
    return np.packbits(parities, axis=1, bitorder="little")


def choose_quantizers(bits: NDArray[np.uint8], states: int) -> None:
    """Replace the parities of levels by their bits h.

    Args:
        bits: a bit for each level of whole lanes, eight in a byte, contiguous in memory; changed in
            place.
        states: the number of states, 4 to 256.

    """
    divisor, factor = POLYNOMIALS[states]
    lanes = bits.reshape(-1).view("<u8").reshape(-1, LANE_SIZE // _WORD_BITS)
    for start in range(0, len(lanes), _CHUNK):
        part = lanes[start : start + _CHUNK]
        # The first words of all lanes are contiguous, then the second words, and so on.
        words = np.ascontiguousarray(part.T, np.uint64)
        part[:] = _divide(_multiply(words, factor), divisor).T


def _multiply(words: Words, factor: int) -> Words:
    """Return the product with a polynomial without a constant term, within each lane."""
    product, shifted = np.zeros_like(words), np.empty_like(words)
    for tap in _taps(factor):
        product ^= np.left_shift(words, np.uint64(tap), out=shifted)
        carried = np.right_shift(words[:-1], np.uint64(_WORD_BITS - tap), out=shifted[:-1])
        product[1:] ^= carried
    return product


def _divide(words: Words, divisor: int) -> Words:
    """Return the quotient, within each lane; `words` are changed."""
    quotient, other, shifted = words, np.empty_like(words), np.empty_like(words)
    # 1 / a is the product of a^(2^j) over all j, and a^(2^j) has the taps of a at 2^j times their
    # distances.
    scale = 1
    while taps := list(_taps(divisor, scale)):
        np.left_shift(quotient, np.uint64(taps[0]), out=other)
        for tap in taps[1:]:
            other ^= np.left_shift(quotient, np.uint64(tap), out=shifted)
        other ^= quotient
        quotient, other = other, quotient
        scale *= 2
    # Each word was divided as if h were 0 before it. The last bits of h go on into the next word.
    responses = _zero_input_responses(divisor)
    memory = np.uint64(_WORD_BITS - divisor.bit_length() + 1)
    for before, word in pairwise(quotient):
        response = responses.take((before >> memory).astype(np.intp))
        np.bitwise_xor(word, response, out=word)
    return quotient


def _taps(polynomial: int, scale: int = 1) -> Iterator[int]:
    """Yield the distances with a coefficient of 1, times a scale, that are within a word."""
    for tap in range(1, polynomial.bit_length()):
        if polynomial >> tap & 1 and tap * scale < _WORD_BITS:
            yield tap * scale


@cache
def _zero_input_responses(divisor: int) -> Words:
    """Return the first word of h after each combination of last bits, where all parities are 0.

    The last of these bits is the highest bit of the index.
    """
    memory = divisor.bit_length() - 1
    responses = np.zeros(1, np.uint64)
    for bit in range(memory):
        # Bit k - 1 of the history is h(t - k).
        history, word = 1 << memory - 1 - bit, 0
        for at in range(_WORD_BITS):
            h = (history & divisor >> 1).bit_count() % 2
            word |= h << at
            history = history << 1 | h
        responses = np.concatenate([responses, responses ^ np.uint64(word)])
    return responses
