"""Dependent levels on a device; see `vggq._codecs._trellis` for what they mean.

The bits h are the product of the parities with a polynomial, divided by another, modulo 2. All
lanes of all bands are calculated at once, with an exclusive or for each coefficient.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import torch

from .._codecs._trellis import LANE_SIZE, POLYNOMIALS

if TYPE_CHECKING:
    from collections.abc import Iterator


def resolve_levels(levels: torch.Tensor, states: int) -> torch.Tensor:
    """Return the multiples of the step size that dependent levels stand for, as float64.

    Args:
        levels: int32, of whole lanes; is changed.
        states: the number of states, 4 to 256.

    """
    chosen = choose_quantizers(levels.view(-1, LANE_SIZE), states).view(-1)
    signs = levels.sign().mul_(chosen)
    values = torch.empty(levels.shape, dtype=torch.float64, device=levels.device)
    torch.sub(levels.add_(levels), signs, out=values)
    return values


def choose_quantizers(levels: torch.Tensor, states: int) -> torch.Tensor:
    """Return the bit h of each level, as uint8; both of shape (lanes, 512)."""
    # Levels of the same place in all lanes are neighbours, so that a shift by places is a slice.
    # The first half of each buffer is 0: there is nothing before the first place.
    shape = (2, 2 * LANE_SIZE, len(levels))
    current, following = torch.zeros(shape, dtype=torch.uint8, device=levels.device)
    torch.bitwise_and(levels.t(), 1, out=current[LANE_SIZE:])
    for distances in _factors(states):
        _add_shifted(current, distances, following)
        current, following = following, current
    return current[LANE_SIZE:].t().contiguous()


def _factors(states: int) -> Iterator[list[int]]:
    """Yield the distances with a coefficient of 1 of the polynomials whose product gives h.

    1 / a is the product of a^(2^j) over all j, and a^(2^j) has the coefficients of a at 2^j times
    their distances.
    """
    divisor, factor = POLYNOMIALS[states]
    yield _distances(factor)
    for exponent in count():
        distances = [distance << exponent for distance in _distances(divisor)]
        inside = [distance for distance in distances if distance < LANE_SIZE]
        if inside == [0]:
            return
        yield inside


def _distances(polynomial: int) -> list[int]:
    return [at for at in range(polynomial.bit_length()) if polynomial >> at & 1]


def _add_shifted(source: torch.Tensor, distances: list[int], target: torch.Tensor) -> None:
    """Write the sum modulo 2 of the source, shifted by each distance, to the target."""
    first, *others = [source[LANE_SIZE - at : 2 * LANE_SIZE - at] for at in distances]
    out = target[LANE_SIZE:]
    if not others:
        out.copy_(first)
        return
    torch.bitwise_xor(first, others[0], out=out)
    for other in others[1:]:
        out.bitwise_xor_(other)
