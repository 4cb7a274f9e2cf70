"""The encoder of the ``grid`` codec: levels times a step size, in a basis if that saves bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ...._codecs import Grid
from ...._codecs._bands import MAX_LEVEL
from ...._codecs._trellis import resolve_levels
from ...._codecs.grid import BASIS_DTYPE, MAX_ROWS, ROW_DTYPE, STEP_DTYPE
from . import rounding, trellis
from .rates import estimate_rates
from .streams import encode_band, serialize_bands
from .transform import BASIS_SCALE, VectorView, choose_basis, compute_coefficients

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The Lagrange multiplier by `dependent`: the cost of a bit in squared steps. At high rates a bit
# changes the noise by 6.02 dB, and is worth 2 ln 2 times the squared error. This error is 1/12
# squared step for independent levels. It is larger for dependent levels, whose step is smaller.
_LAGRANGE_MULTIPLIER: Final = {False: 0.1, True: 0.35}
_BITS_PER_BYTE: Final = 8
_MIN_FLOAT32: Final = float(np.finfo(np.float32).tiny)
_MAX_FLOAT32: Final = float(np.finfo(np.float32).max)
# The step size of dependent levels that gives the noise of independent levels of step size 1.
_DEPENDENT_STEP: Final = 0.57
# The share of the theoretical gain of sorted rows that zstd's tables, one per block, realize.
_REALIZED_GAIN: Final = 0.25


@dataclass(slots=True)
class GridEncoder:
    """The weights of a tensor, prepared for quantization with any step size.

    Attributes:
        view: the division of the tensor into vectors.
        basis: integers of shape (taps, taps); empty if there is no transform.
        order: indices of the rows of vectors in the order of storage; empty if it is unchanged.
        bands: the coefficients, of shape (taps, vectors), in units of the weights.
        dependent: whether the meaning of a level depends on the levels before it.

    """

    view: VectorView
    basis: NDArray[np.int16]
    order: NDArray[np.uint16]
    bands: NDArray[np.float32]
    dependent: bool
    _rates: NDArray[np.float32] | None = None

    @classmethod
    def from_values(cls, values: NDArray[np.float32], *, dependent: bool = True) -> GridEncoder:
        """Choose the basis and the row order that save most, if they save more than they take."""
        view, basis = choose_basis(values)
        vectors = view.vectors(values)
        order = _find_row_order(vectors)
        if order.size:
            vectors = vectors[:, order]
        bands = np.ascontiguousarray(vectors.reshape(view.taps, -1))
        if basis.size:
            bands = compute_coefficients(bands, basis) * np.float32(BASIS_SCALE)
        return cls(view, basis, order, bands, dependent)

    def supports(self, step: float) -> bool:
        """Return whether the codec can represent the step size and all levels.

        Levels have at most 24 bits, and the stored step size is a normal float32 number.
        """
        unit = step / BASIS_SCALE
        if not _MIN_FLOAT32 < unit < step < _MAX_FLOAT32:
            return False
        largest = float(np.abs(self.bands).max(initial=0))
        return largest < step * MAX_LEVEL

    def estimate_noise(self, step: float) -> float:
        """Return the squared error at a step size, apart from the rounding of the basis."""
        levels = self._quantize(step)
        if self.dependent:
            resolve_levels(levels)
        return sum(
            float(np.square(band - level * np.float32(step), dtype=np.float64).sum())
            for band, level in zip(self.bands, levels, strict=True)
        )

    def encode(self, step: float) -> tuple[Grid, list[bytes]]:
        """Quantize the tensor with a step size in units of its weights.

        Returns:
            The codec with its parameters, and the parts of the content before compression.

        """
        levels = self._quantize(step)
        # The vectors of the basis have the length `BASIS_SCALE`.
        unit = step / BASIS_SCALE if self.basis.size else step
        head = np.array([unit], STEP_DTYPE).tobytes() + self.basis.astype(BASIS_DTYPE).tobytes()
        bands = serialize_bands([encode_band(band) for band in levels])
        parts = [head + self.order.astype(ROW_DTYPE).tobytes(), *bands]
        size = sum(map(len, parts))
        rows = self.order.size or 1
        return Grid(self.view.taps, self.view.first, rows, self.dependent, size), parts

    def estimate_step(self, noise: float) -> float:
        """Return about the step size that gives each weight the squared error `noise`."""
        step = math.sqrt(12 * noise)
        return step * _DEPENDENT_STEP if self.dependent else step

    def _quantize(self, step: float) -> NDArray[np.int32]:
        scaled = self.bands / np.float32(step)
        if self._rates is None:
            span = 2 if self.dependent else 1
            self._rates = estimate_rates(np.rint(scaled / span).astype(np.int32))
        quantize = trellis.quantize if self.dependent else rounding.quantize
        levels = quantize(scaled, self._rates, _LAGRANGE_MULTIPLIER[self.dependent])
        # The next call usually has a similar step size, and so similar rates.
        self._rates = estimate_rates(levels)
        return levels


def _find_row_order(vectors: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return the rows by ascending energy, or none if sorting saves less than the order takes.

    Sorting places rows with similar statistics in the same zstd block, and so in the same table.
    """
    unsorted = np.empty(0, np.uint16)
    energies = np.square(vectors, dtype=np.float64).mean(axis=(0, 2))
    if not 1 < energies.size <= MAX_ROWS:
        return unsorted
    logs = np.log2(energies + np.finfo(np.float64).tiny)
    saved = (np.log2(energies.mean() + np.finfo(np.float64).tiny) - logs.mean()) / 2
    if saved * vectors.size / _BITS_PER_BYTE * _REALIZED_GAIN < energies.size * ROW_DTYPE.itemsize:
        return unsorted
    return np.argsort(logs, kind="stable").astype(np.uint16)
