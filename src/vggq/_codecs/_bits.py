"""Numbers of 1, 2, 4 or 8 bits in bytes, the first number in the lowest bits."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._scratch import Scratch


@cache
def unpacking_table(width: int) -> NDArray[np.int16]:
    """Return the numbers of `width` bits in each byte: a read-only array (256, 8 / width)."""
    shifts = np.arange(0, 8, width)
    numbers = (np.arange(256)[:, None] >> shifts & ((1 << width) - 1)).astype(np.int16)
    numbers.flags.writeable = False
    return numbers


def unpack(packed: NDArray[np.uint8], width: int, scratch: Scratch) -> NDArray[np.uint8]:
    """Return all numbers of `width` bits in the bytes, each in a byte of its own.

    Args:
        packed: the bytes.
        width: 1, 2, 4 or 8.
        scratch: memory for the result, which has the shape of `packed` but for the last axis.

    """
    if width == 1:
        return np.unpackbits(packed, axis=-1, bitorder="little")
    # A word has room for the numbers of one byte.
    words = scratch.take("words", packed.shape, np.dtype(f"<u{8 // width}"))
    words[...] = packed
    for size, shift, mask in _steps(width):
        _add_shifted(words, shift, size, scratch)
        words &= mask
    return words.view(np.uint8)


@cache
def _steps(width: int) -> tuple[tuple[int, int, Any], ...]:
    """Return the steps from a byte in a word to all of its numbers.

    Each step halves all groups of bits, and moves the upper halves apart.

    Returns:
        For each step, the size of a group in bits, the distance to move an upper half, and the mask
        of the halves.

    """
    steps = []
    word = np.dtype(f"u{8 // width}").type
    size, distance = 8, 64 // width
    while size > width:
        half, distance = size // 2, distance // 2
        mask = sum((1 << half) - 1 << begin for begin in range(0, 64 // width, distance))
        steps.append((size, distance - half, word(mask)))
        size = half
    return tuple(steps)


def _add_shifted(words: NDArray[Any], shift: int, size: int, scratch: Scratch) -> None:
    """Add a copy of each group of `size` bits to the word, shifted to the left by `shift` bits."""
    if shift >= size:
        # The copies do not overlap, and one product takes less time than a shift and a sum.
        words *= words.dtype.type(1 + (1 << shift))
    else:
        # The copies overlap, but only in bits that are not used.
        shifted = scratch.take("shifted", words.shape, words.dtype)
        words |= np.left_shift(words, words.dtype.type(shift), out=shifted)
