"""The encoder of the ``grid`` codec: levels times a step size, in a basis if that saves bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ...._codecs import Grid
from ...._codecs._escapes import MAX_LEVEL
from ...._codecs._scratch import Scratch
from ...._codecs._trellis import LANE_SIZE, resolve_levels
from ...._codecs.grid import BASIS_DTYPE, MAX_ROWS, ROW_DTYPE, STEP_DTYPE
from . import rounding, trellis
from .rates import estimate_rates
from .streams import encode_band, serialize_bands
from .transform import BASIS_SCALE, VectorView, choose_basis, compute_coefficients

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...goals import Effort

# The Lagrange multiplier: the cost of a bit in squared steps. At high rates a bit changes the noise
# by 6.02 dB, and is worth 2 ln 2 times the squared error. This error is 1/12 squared step for
# independent levels. It is larger for dependent levels, whose step is smaller.
_INDEPENDENT_MULTIPLIER: Final = 0.1
_DEPENDENT_MULTIPLIER: Final = 0.33
# For the estimate of rates: the number of states, and about the number of lanes of all bands.
_DRAFT_STATES: Final = 8
_SAMPLE_LANES: Final = 512
_BITS_PER_BYTE: Final = 8
_MIN_FLOAT32: Final = float(np.finfo(np.float32).tiny)
_MAX_FLOAT32: Final = float(np.finfo(np.float32).max)
# The step size of dependent levels that gives the noise of independent levels of step size 1.
_DEPENDENT_STEP: Final = 0.57
# The share of the theoretical gain of sorted rows that zstd's tables, one per block, realize.
_REALIZED_GAIN: Final = 0.25
# Rows of less energy than this share of the mean count as if they had as much.
_MIN_RELATIVE_ENERGY: Final = 2.0**-40


@dataclass(slots=True)
class GridEncoder:
    """The weights of a tensor, prepared for quantization with any step size.

    Attributes:
        view: the division of the tensor into vectors.
        basis: integers of shape (taps, taps); empty if there is no transform.
        order: indices of the rows of vectors in the order of storage; empty if it is unchanged.
        bands: the coefficients, of shape (taps, vectors), in units of the weights.
        effort: the number of states of dependent levels, and how often to quantize.

    """

    view: VectorView
    basis: NDArray[np.int16]
    order: NDArray[np.uint16]
    bands: NDArray[np.float32]
    effort: Effort
    _rates: NDArray[np.float32] | None = None

    @classmethod
    def from_values(
        cls, values: NDArray[np.float32], effort: Effort, *, reorder: bool = True
    ) -> GridEncoder:
        """Choose the basis and the row order that save most, if they save more than they take.

        Args:
            values: the weights.
            effort: the number of states of dependent levels, and how often to quantize.
            reorder: whether rows of vectors may be stored in another order.

        """
        view, basis = choose_basis(values)
        vectors = view.vectors(values)
        bands = np.ascontiguousarray(vectors.reshape(view.taps, -1))
        if basis.size:
            bands = compute_coefficients(bands, basis) * np.float32(BASIS_SCALE)
        rows = bands.reshape(vectors.shape)
        order = _find_row_order(rows) if reorder else np.empty(0, np.uint16)
        if order.size:
            bands = rows[:, order].reshape(bands.shape)
        return cls(view, basis, order, bands, effort)

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
        if self.effort.states > 1:
            # Memory of its own, since that of the thread would be kept in the size of all levels.
            resolve_levels(levels, self.effort.states, Scratch())
        return sum(
            float(np.square(band - level * np.float32(step), dtype=np.float64).sum())
            for band, level in zip(self.bands, levels, strict=True)
        )

    def encode(self, step: float) -> tuple[Grid, list[bytes]]:
        """Quantize the tensor with a step size in units of its weights.

        Returns:
            The codec with its parameters, and the parts of the content before compression.

        """
        for _ in range(self.effort.passes - 1):
            self._quantize(step)
        levels = self._quantize(step)
        # The vectors of the basis have the length `BASIS_SCALE`.
        unit = step / BASIS_SCALE if self.basis.size else step
        head = np.array([unit], STEP_DTYPE).tobytes() + self.basis.astype(BASIS_DTYPE).tobytes()
        bands = serialize_bands([encode_band(band) for band in levels])
        parts = [head + self.order.astype(ROW_DTYPE).tobytes(), *bands]
        size = sum(map(len, parts))
        rows = self.order.size or 1
        return Grid(self.view.taps, self.view.first, rows, self.effort.states, size), parts

    def estimate_step(self, noise: float) -> float:
        """Return about the step size that gives each weight the squared error `noise`."""
        step = math.sqrt(12 * noise)
        return step * _DEPENDENT_STEP if self.effort.states > 1 else step

    def _quantize(self, step: float) -> NDArray[np.int32]:
        scaled = self.bands / np.float32(step)
        rates = self._find_rates(scaled)
        if self.effort.states == 1:
            levels = rounding.quantize(scaled, rates, _INDEPENDENT_MULTIPLIER)
        else:
            levels = trellis.quantize(scaled, rates, _DEPENDENT_MULTIPLIER, self.effort.states)
        # The next call usually has a similar step size, and so similar rates.
        self._rates = estimate_rates(levels)
        return levels

    def _find_rates(self, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the rates from the last call, or estimate those of weights in steps."""
        if self._rates is not None:
            return self._rates
        if self.effort.states == 1:
            return estimate_rates(np.rint(scaled).astype(np.int32))
        # The levels of a quick search have better rates than rounded weights.
        sample = _sample_lanes(scaled)
        rates = estimate_rates(np.rint(sample / 2).astype(np.int32))
        draft = trellis.quantize(sample, rates, _DEPENDENT_MULTIPLIER, _DRAFT_STATES)
        return estimate_rates(draft)


def _sample_lanes(bands: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return some lanes of each band, evenly spaced."""
    whole = bands.shape[1] // LANE_SIZE * LANE_SIZE
    spacing = bands.size // (_SAMPLE_LANES * LANE_SIZE)
    if spacing < 2 or not whole:
        return bands
    lanes = bands[:, :whole].reshape(len(bands), -1, LANE_SIZE)
    return lanes[:, ::spacing].reshape(len(bands), -1)


def _find_row_order(rows: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return the rows by ascending energy, or none if sorting saves less than the order takes.

    Sorting places rows with similar statistics in the same zstd block, and so in the same table.
    All bands have the same order. The mean of the logarithms of their energies is a compromise
    among them; the sum of the energies would be that of the band with the largest.

    Args:
        rows: the coefficients, of shape (bands, rows, coefficients of a row).

    """
    unsorted = np.empty(0, np.uint16)
    count = rows.shape[1]
    if not 1 < count <= MAX_ROWS:
        return unsorted
    energies = np.square(rows, dtype=np.float64).mean(axis=2)
    means = energies.mean(axis=1, keepdims=True)
    logs = np.log2(np.maximum(energies, means * _MIN_RELATIVE_ENERGY) + np.finfo(np.float64).tiny)
    saved = (np.log2(means + np.finfo(np.float64).tiny) - logs).mean() / 2
    if saved * rows.size / _BITS_PER_BYTE * _REALIZED_GAIN < count * ROW_DTYPE.itemsize:
        return unsorted
    # The last bits of a sum depend on the processor. Rounding keeps them out of the order.
    return np.argsort(np.round(logs.mean(axis=0), 6), kind="stable").astype(np.uint16)
