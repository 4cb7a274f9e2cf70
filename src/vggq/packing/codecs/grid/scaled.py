"""The encoder of the ``grid`` codec for a tensor with scales."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ...._codecs import Grid
    from ..scales import ScaledTensor
    from .encoder import GridEncoder


@dataclass(frozen=True, slots=True)
class ScaledGridEncoder:
    """The same as a `GridEncoder`, for a tensor whose slices are divided by their scales.

    Step sizes are in units of the weights, so that a tensor has about the same noise with scales as
    without them.

    Attributes:
        tensor: the tensor.
        inner: the encoder of the quotients, with all rows in their order.
        unit: the root mean square of the scales: the weights of a quotient of 1.

    """

    tensor: ScaledTensor
    inner: GridEncoder
    unit: float

    @classmethod
    def from_encoder(cls, tensor: ScaledTensor, inner: GridEncoder) -> ScaledGridEncoder:
        """Return the encoder of a tensor with the encoder of its quotients."""
        scales = tensor.scales.astype(np.float64)
        return cls(tensor, inner, math.sqrt(float(np.square(scales).mean())))

    def supports(self, step: float) -> bool:
        """Return whether the codec can represent the step size and all levels."""
        return self.unit > 0 and self.inner.supports(step / self.unit)

    def estimate_noise(self, step: float) -> float:
        """Return the squared error at a step size, apart from the rounding to float32."""
        codec, parts = self.inner.encode(step / self.unit)
        restored = np.empty(self.tensor.values.size, np.float32)
        codec.decode_into(b"".join(parts), restored)
        errors = self.tensor.values - restored.reshape(self.tensor.values.shape)
        return self.tensor.weigh(errors)

    def encode(self, step: float) -> tuple[Grid, list[bytes]]:
        """Quantize the tensor; the result is that of `GridEncoder.encode`."""
        codec, parts = self.inner.encode(step / self.unit)
        scales, size = self.tensor.stored, codec.size + len(self.tensor.stored)
        codec = codec._replace(size=size, slices=self.tensor.slices)
        return codec, [scales + parts[0], *parts[1:]]

    def estimate_step(self, noise: float) -> float:
        """Return about the step size that gives each weight the squared error `noise`."""
        return self.inner.estimate_step(noise / self.unit**2) * self.unit if self.unit else 0.0
