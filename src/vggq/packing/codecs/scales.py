"""Scales of the slices of a tensor along one axis: the largest absolute value of each slice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..._codecs._scales import MAX_SCALE, SCALE_DTYPE, Slices, widen_scales

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ScaledTensor:
    """A tensor whose slices are divided by their scales.

    Attributes:
        slices: the slices.
        stored: the scales as the content stores them.
        values: the quotients, from -1 to 1, in the shape of the tensor.

    """

    slices: Slices
    stored: bytes
    values: NDArray[np.float32]

    @property
    def scales(self) -> NDArray[np.float32]:
        """The scales."""
        return widen_scales(np.frombuffer(self.stored, SCALE_DTYPE))

    def weigh(self, errors: NDArray[np.float32]) -> float:
        """Return the squared error of the weights for errors of the quotients."""
        parts = errors.reshape(-1, self.slices.scales, self.slices.run)
        sums = np.square(parts, dtype=np.float64).sum(axis=(0, 2))
        return float(sums @ np.square(self.scales, dtype=np.float64))


def scale_slices(values: NDArray[np.float32], axis: int) -> ScaledTensor:
    """Divide each slice by its largest absolute value, rounded up to a scale that can be stored.

    A slice of zeros has the scale 0 and stays unchanged.

    Args:
        values: finite weights.
        axis: the axis of the slices, from 0.

    """
    slices = Slices(values.shape[axis], math.prod(values.shape[axis + 1 :]))
    parts = values.reshape(-1, slices.scales, slices.run)
    largest = np.maximum(parts.max(axis=(0, 2)), -parts.min(axis=(0, 2)))
    bits = _round_up(largest)
    scales = widen_scales(bits)[:, None]
    quotients = np.zeros_like(parts)
    np.divide(parts, scales, out=quotients, where=scales > 0)
    # The largest scale is a little less than the largest float32.
    np.clip(quotients, -1, 1, out=quotients)
    return ScaledTensor(slices, bits.astype(SCALE_DTYPE).tobytes(), quotients.reshape(values.shape))


def _round_up(scales: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return the upper halves of the smallest bfloat16 numbers that are no less than the scales."""
    # Adding 0.0 turns -0.0 into 0.0.
    bits = (scales + np.float32(0)).view(np.uint32)
    upper: NDArray[np.uint16] = ((bits >> 16) + (bits & 0xFFFF != 0)).astype(np.uint16)
    return np.minimum(upper, np.uint16(MAX_SCALE))
