"""The basis that decorrelates a tensor's weights: its Karhunen-Loève transform.

The weights of a convolution kernel are strongly correlated. In the eigenbasis of their second
moments they are uncorrelated, and a few coefficients hold most of the energy.
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

BASIS_SCALE: Final = 1 << 11
"""Length of the basis vectors: a unit vector is multiplied by it and rounded to integers."""

_CHUNK: Final = 1 << 16
_BITS_PER_BYTE: Final = 8


@dataclass(frozen=True, slots=True)
class VectorView:
    """A division of a tensor into vectors of `taps` weights, along its first or its last axes."""

    taps: int
    first: bool

    def vectors(self, values: NDArray[np.float32]) -> Vectors:
        """Return all vectors, in an array of shape (taps, rows, vectors per row).

        A row is an index along the first axis that does not belong to the vectors.
        """
        if self.first:
            # Such an axis follows those of the vectors. A matrix has one only, its last.
            return values.reshape(self.taps, values.shape[max(values.ndim - 2, 1)], -1)
        return np.moveaxis(values.reshape(values.shape[0], -1, self.taps), -1, 0)


SINGLE_WEIGHTS: Final = VectorView(1, False)
"""Each weight is a vector of its own, for a tensor without a transform."""


def candidate_views(shape: Sequence[int]) -> list[VectorView]:
    """Return the views to try: along the kernel axes, which torch has last and Keras has first.

    A matrix has no kernel axes, but its columns or rows may be short enough to be vectors.
    """
    if len(shape) > 2:
        candidates = [
            VectorView(math.prod(shape[2:]), False),
            VectorView(math.prod(shape[:-2]), True),
        ]
    else:
        candidates = [VectorView(shape[-1], False), VectorView(shape[0], True)]
    return [view for view in candidates if 1 < view.taps <= MAX_TAPS]


def choose_basis(values: NDArray[np.float32]) -> tuple[VectorView, NDArray[np.int16]]:
    """Return the view and the basis that save most bytes.

    If no basis saves more bytes than it takes, the view has single weights, and the basis is empty.
    """
    best, best_saved = (SINGLE_WEIGHTS, np.empty((1, 0), np.int16)), 0.0
    for view in candidate_views(values.shape):
        vectors = view.vectors(values).reshape(view.taps, -1)
        basis = find_basis(vectors)
        coefficients = compute_coefficients(vectors, basis) * np.float32(BASIS_SCALE)
        saved = coding_gain(vectors, coefficients) * values.size / _BITS_PER_BYTE - basis.nbytes
        if saved > best_saved:
            best, best_saved = (view, basis), saved
    return best


def find_basis(vectors: Vectors) -> NDArray[np.int16]:
    """Return the eigenvectors of the second moments, times `BASIS_SCALE`, as integers.

    Args:
        vectors: of shape (taps, count).

    Returns:
        One eigenvector per row, in descending order of the eigenvalues, of shape (taps, taps).

    """
    moments = _second_moments(vectors)
    # The last bits of a sum depend on the processor. Rounding keeps them out of the packed file.
    digits = 9 - math.ceil(math.log10(np.abs(moments).max() or 1.0))
    _, columns = np.linalg.eigh(np.round(moments, digits))
    basis = columns.T[::-1]
    # The sign of an eigenvector is arbitrary: its largest component is made positive.
    largest = np.take_along_axis(basis, np.abs(basis).argmax(axis=1)[:, None], axis=1)
    rounded: NDArray[np.int16] = np.rint(basis * np.sign(largest) * BASIS_SCALE).astype(np.int16)
    return rounded


def _second_moments(vectors: Vectors) -> NDArray[np.float64]:
    taps, count = vectors.shape
    moments = np.zeros((taps, taps))
    for begin in range(0, count, _CHUNK):
        chunk = vectors[:, begin : begin + _CHUNK].astype(np.float64)
        moments += chunk @ chunk.T
    return moments


def compute_coefficients(vectors: Vectors, basis: NDArray[np.int16]) -> Vectors:
    """Return the coefficients of vectors, of shape (taps, count), in a rounded basis."""
    rows = basis.astype(np.float64)
    inverse = np.linalg.solve(rows @ rows.T, rows)
    coefficients = np.empty_like(vectors)
    for begin in range(0, vectors.shape[1], _CHUNK):
        chunk = slice(begin, begin + _CHUNK)
        coefficients[:, chunk] = inverse @ vectors[:, chunk]
    return coefficients


def coding_gain(vectors: Vectors, coefficients: Vectors) -> float:
    """Return the theoretical coding gain of a transform, in bits per weight.

    It is half the difference between the log2 of the mean energy of the weights and the mean log2
    of the energies of the bands.

    Args:
        vectors: the weights, of shape (taps, count).
        coefficients: their coefficients in a basis of unit vectors, of the same shape.

    """
    before, after = (
        np.square(bands, dtype=np.float64).mean(axis=1) for bands in (vectors, coefficients)
    )
    tiny = np.finfo(np.float64).tiny
    # Without a transform, all taps are one band.
    return float(np.log2(before.mean() + tiny) - np.log2(after + tiny).mean()) / 2
