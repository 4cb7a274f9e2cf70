"""Numbers of 1, 2, 4 or 8 bits in bytes, the first number in the lowest bits."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@cache
def unpacking_table(width: int) -> NDArray[np.int16]:
    """Return the numbers of `width` bits in each byte: a read-only array (256, 8 / width)."""
    shifts = np.arange(0, 8, width)
    numbers = (np.arange(256)[:, None] >> shifts & ((1 << width) - 1)).astype(np.int16)
    numbers.flags.writeable = False
    return numbers
