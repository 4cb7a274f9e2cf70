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
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

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


def resolve_levels(levels: NDArray[Any], states: int) -> None:
    """Replace dependent levels by the multiples of the step size that they stand for.

    Args:
        levels: signed integers of shape (bands, levels); changed in place. The dtype has to have
            room for twice each level.
        states: the number of states, 4 to 256.

    """
    bands, count = levels.shape
    parities = np.zeros((bands, -(-count // LANE_SIZE) * LANE_SIZE), np.uint8)
    parities[:, :count] = levels
    parities &= 1
    words = np.packbits(parities, bitorder="little").view("<u8")
    choices = _choose_quantizers(words.reshape(-1, LANE_SIZE // _WORD_BITS), states)
    bits = np.unpackbits(choices.view(np.uint8).reshape(-1), bitorder="little")
    signs = np.sign(levels)
    signs *= bits.view(np.int8).reshape(bands, -1)[:, :count]
    levels += levels
    levels -= signs


def _choose_quantizers(parities: Words, states: int) -> Words:
    """Return h of each level, at the bit of its parity; both of shape (lanes, 8)."""
    divisor, factor = POLYNOMIALS[states]
    chosen = _multiply(parities, factor)
    # 1 / a is the product of a^(2^j) over all j, and a^(2^j) has the taps of a at 2^j times their
    # distances.
    scale = 1
    while scale < _WORD_BITS:
        shifted = [chosen << np.uint64(tap * scale) for tap in _taps(divisor, scale)]
        for term in shifted:
            chosen ^= term
        scale *= 2
    # Each word was divided as if h were 0 before it. The last bits of h go on into the next word.
    responses = _zero_input_responses(divisor)
    memory = np.uint64(_WORD_BITS - divisor.bit_length() + 1)
    for word in range(1, chosen.shape[1]):
        chosen[:, word] ^= responses.take((chosen[:, word - 1] >> memory).astype(np.intp))
    return chosen


def _multiply(words: Words, factor: int) -> Words:
    """Return the product with a polynomial without a constant term, within each lane."""
    product = np.zeros_like(words)
    for tap in _taps(factor):
        product ^= words << np.uint64(tap)
        product[:, 1:] ^= words[:, :-1] >> np.uint64(_WORD_BITS - tap)
    return product


def _taps(polynomial: int, scale: int = 1) -> Iterator[int]:
    """Yield the distances above 0 with a coefficient of 1 that are within a word, times a scale."""
    for tap in range(1, polynomial.bit_length()):
        if polynomial >> tap & 1 and tap * scale < _WORD_BITS:
            yield tap


@cache
def _zero_input_responses(divisor: int) -> Words:
    """Return the first word of h after each combination of last bits, where all parities are 0.

    The last of these bits is the highest bit of the index.
    """
    memory = divisor.bit_length() - 1
    responses = np.zeros(1, np.uint64)
    for bit in range(memory):
        h = [int(at == bit) for at in range(memory)]
        for _ in range(_WORD_BITS):
            h.append(sum(h[-tap] for tap in _taps(divisor)) % 2)
        word = sum(value << at for at, value in enumerate(h[memory:]))
        responses = np.concatenate([responses, responses ^ np.uint64(word)])
    return responses
