"""Numbers of 1, 2, 4 or 8 bits, the first of a byte in its lowest bits."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@cache
def numbers_of_bytes(width: int) -> NDArray[np.int16]:
    """The numbers that each byte holds, of shape (256, 8 / width); not to be written to."""
    shifts = np.arange(0, 8, width)
    numbers = (np.arange(256)[:, None] >> shifts & ((1 << width) - 1)).astype(np.int16)
    numbers.flags.writeable = False
    return numbers
