"""The storing half of the ``grid`` codec: steps, in a basis of the tensor's own where that pays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ...._codecs import Grid
from ...._codecs._bands import MAX_LEVEL
from ...._codecs._trellis import resolve
from ...._codecs.grid import BASIS, MAX_ROWS, ROW, STEP
from . import rounding, trellis
from .rates import rates_of
from .streams import content_of, shortest
from .transform import FLAT, SCALE, View, coefficients, find_basis, gain, views

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What a bit is worth in squared steps: at high rates 6.02 dB, so 2 ln 2 times the squared error.
# Independent levels have 1/12 of a squared step; dependent ones, of half the steps, more.
_BIT: Final = {False: 0.1, True: 0.35}
_BYTE: Final = 8
_TINY: Final = float(np.finfo(np.float32).tiny)
_HUGE: Final = float(np.finfo(np.float32).max)
# A step of dependent levels that gives the noise of independent ones of step 1.
_DEPENDENT_STEP: Final = 0.57


# zstd's tables are of blocks, which cannot follow every difference between the rows.
_ORDER_PAYS: Final = 0.25


@dataclass(slots=True)
class Coder:
    """A tensor's weights, ready to be quantized with any step.

    Attributes:
        view: how it is seen as vectors.
        basis: integers of shape (taps, taps); empty where there is none.
        order: the rows of vectors in the order in which they are stored; empty where it is theirs.
        bands: the coefficients, of shape (taps, vectors), in units of the weights.
        dependent: whether levels depend on those before.

    """

    view: View
    basis: NDArray[np.int16]
    order: NDArray[np.uint16]
    bands: NDArray[np.float32]
    dependent: bool
    _rates: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, values: NDArray[np.float32], *, dependent: bool = True) -> Coder:
        """With the basis and the order that save most, if any save more than they take."""
        view, basis = _best_basis(values)
        vectors = view.vectors(values)
        order = _order(vectors)
        if order.size:
            vectors = vectors[:, order]
        bands = np.ascontiguousarray(vectors.reshape(view.taps, -1))
        if basis.size:
            bands = coefficients(bands, basis) * np.float32(SCALE)
        return cls(view, basis, order, bands, dependent)

    def takes(self, step: float) -> bool:
        """Whether all levels are of at most 24 bits, and the step and its share normal float32."""
        unit = step / SCALE
        if not _TINY < unit < step < _HUGE:
            return False
        largest = float(np.abs(self.bands).max(initial=0))
        return largest < step * MAX_LEVEL

    def noise(self, step: float) -> float:
        """The squared error of quantizing with a step, up to what the basis is rounded by."""
        levels = self._quantize(step)
        if self.dependent:
            resolve(levels)
        return sum(
            float(np.square(band - level * np.float32(step), dtype=np.float64).sum())
            for band, level in zip(self.bands, levels, strict=True)
        )

    def encode(self, step: float) -> tuple[Grid, list[bytes]]:
        """Quantize with a step in units of the weights.

        Returns:
            The codec with its parameters, and the parts of the content before compression.

        """
        levels = self._quantize(step)
        # The basis is of vectors that are `SCALE` long.
        unit = step / SCALE if self.basis.size else step
        head = np.array([unit], STEP).tobytes() + self.basis.astype(BASIS).tobytes()
        bands = content_of([shortest(band) for band in levels])
        parts = [head + self.order.astype(ROW).tobytes(), *bands]
        size = sum(map(len, parts))
        rows = self.order.size or 1
        return Grid(self.view.taps, self.view.first, rows, self.dependent, size), parts

    def step_of(self, noise: float) -> float:
        """About the step that gives a squared error to each weight."""
        step = math.sqrt(12 * noise)
        return step * _DEPENDENT_STEP if self.dependent else step

    def _quantize(self, step: float) -> NDArray[np.int32]:
        scaled = self.bands / np.float32(step)
        if self._rates is None:
            span = 2 if self.dependent else 1
            self._rates = rates_of(np.rint(scaled / span).astype(np.int32))
        quantize = trellis.quantize if self.dependent else rounding.quantize
        levels = quantize(scaled, self._rates, _BIT[self.dependent])
        # The next step is seldom far from this one.
        self._rates = rates_of(levels)
        return levels


def _best_basis(values: NDArray[np.float32]) -> tuple[View, NDArray[np.int16]]:
    best, most = (FLAT, np.empty((1, 0), np.int16)), 0.0
    for view in views(values.shape):
        vectors = view.vectors(values).reshape(view.taps, -1)
        basis = find_basis(vectors)
        bands = coefficients(vectors, basis) * np.float32(SCALE)
        saved = gain(vectors, bands) * values.size / _BYTE - basis.nbytes
        if saved > most:
            best, most = (view, basis), saved
    return best


def _order(vectors: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Rows of like energy behind each other, where that saves more than the order takes."""
    none = np.empty(0, np.uint16)
    energies = np.square(vectors, dtype=np.float64).mean(axis=(0, 2))
    if not 1 < energies.size <= MAX_ROWS:
        return none
    logs = np.log2(energies + np.finfo(np.float64).tiny)
    saved = (np.log2(energies.mean() + np.finfo(np.float64).tiny) - logs.mean()) / 2
    if saved * vectors.size / _BYTE * _ORDER_PAYS < energies.size * ROW.itemsize:
        return none
    return np.argsort(logs, kind="stable").astype(np.uint16)
