"""The basis in which a tensor's weights are least alike: its Karhunen-Loève transform.

The weights of a convolution's kernel are strongly correlated. In the eigenbasis of their second
moments they are not, and most of their energy is in few of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ...._codecs.grid import MAX_TAPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

SCALE: Final = 1 << 11
"""What a basis of unit vectors is multiplied by before it is rounded to integers."""

_PIECE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class View:
    """A tensor as vectors of `taps` weights, along its first axes or its last."""

    taps: int
    first: bool

    def vectors(self, values: NDArray[np.float32]) -> Vectors:
        """All vectors, of shape (taps, rows, vectors of each); rows are the other axes' first."""
        if self.first:
            # The axis behind those of the vector; a matrix has one, which is its last.
            return values.reshape(self.taps, values.shape[max(values.ndim - 2, 1)], -1)
        return np.moveaxis(values.reshape(values.shape[0], -1, self.taps), -1, 0)


FLAT: Final = View(1, False)


def views(shape: Sequence[int]) -> list[View]:
    """The views worth trying: of the kernel's axes, which torch has last and Keras first.

    A matrix has none, but its columns or rows may be short enough to be vectors.
    """
    if len(shape) > 2:
        found = [View(math.prod(shape[2:]), False), View(math.prod(shape[:-2]), True)]
    else:
        found = [View(shape[-1], False), View(shape[0], True)]
    return [view for view in found if 1 < view.taps <= MAX_TAPS]


def find_basis(vectors: Vectors) -> NDArray[np.int16]:
    """The eigenvectors of the second moments, of the largest eigenvalue first, times `SCALE`.

    Of shape (taps, taps), a vector to a row.
    """
    moments = _moments(vectors)
    # The last bits of a sum depend on the processor, and must not reach the file.
    digits = 9 - math.ceil(math.log10(np.abs(moments).max() or 1.0))
    _, columns = np.linalg.eigh(np.round(moments, digits))
    basis = columns.T[::-1]
    largest = np.take_along_axis(basis, np.abs(basis).argmax(axis=1)[:, None], axis=1)
    rounded: NDArray[np.int16] = np.rint(basis * np.sign(largest) * SCALE).astype(np.int16)
    return rounded


def _moments(vectors: Vectors) -> NDArray[np.float64]:
    taps, count = vectors.shape
    moments = np.zeros((taps, taps))
    for begin in range(0, count, _PIECE):
        piece = vectors[:, begin : begin + _PIECE].astype(np.float64)
        moments += piece @ piece.T
    return moments


def coefficients(vectors: Vectors, basis: NDArray[np.int16]) -> Vectors:
    """What has to be multiplied by the basis, as it is after rounding, to give the vectors."""
    rows = basis.astype(np.float64)
    inverse = np.linalg.solve(rows @ rows.T, rows)
    found = np.empty_like(vectors)
    for begin in range(0, vectors.shape[1], _PIECE):
        piece = slice(begin, begin + _PIECE)
        found[:, piece] = inverse @ vectors[:, piece]
    return found


def gain(vectors: Vectors, found: Vectors) -> float:
    """Bits that the transform saves of each weight, by theory: the fall of the mean log variance.

    Args:
        vectors: before, of shape (taps, count).
        found: after, likewise, in a basis of unit vectors.

    """
    before, after = (np.square(bands, dtype=np.float64).mean(axis=1) for bands in (vectors, found))
    tiny = np.finfo(np.float64).tiny
    # Without a transform the taps are one band.
    return float(np.log2(before.mean() + tiny) - np.log2(after + tiny).mean()) / 2
