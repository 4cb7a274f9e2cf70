"""The input of the model: bytes from the beginning, the middle and the end of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PART: Final = 512
"""Values of each of the three parts."""
PADDING: Final = 256
"""Value of places for which there is no byte."""
BLOCK: Final = 4096
"""Bytes at both ends of a large file in which whitespace is stripped."""


def read_features(data: bytes) -> NDArray[np.float32]:
    """Return the input of the model for one file: float32, of shape (1, 3 * PART)."""
    first, middle, last = _split(data)
    extra = max(0, len(middle) - PART) // 2
    parts = (
        _pad(first[:PART], 0),
        _pad(middle[extra : extra + PART], 0.5),
        _pad(last[-PART:], 1),
    )
    return np.concatenate(parts)[np.newaxis]


def _split(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the content without whitespace at its ends, as seen from both ends and as a whole."""
    if len(data) < 2 * BLOCK + PART:
        content = data.strip()
        return content, content, content
    first, last = data[:BLOCK].lstrip(), data[-BLOCK:].rstrip()
    return first, data[BLOCK - len(first) : len(data) - BLOCK + len(last)], last


def _pad(content: bytes, share: float) -> NDArray[np.float32]:
    """Return the bytes as numbers, with this share of the padding before them."""
    values = np.full(PART, PADDING, np.float32)
    begin = int((PART - len(content)) * share)
    values[begin : begin + len(content)] = np.frombuffer(content, np.uint8)
    return values
