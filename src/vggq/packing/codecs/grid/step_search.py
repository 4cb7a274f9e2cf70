"""The search for the step size of the ``grid`` codec that meets a goal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ...metrics import measure_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...._codecs import Grid
    from .encoder import GridEncoder
    from .scaled import ScaledGridEncoder

# The share of the allowed noise that a step size has to use. The rest is worth less than 0.01 dB.
_MIN_USED: Final = 0.998
_MAX_ITERATIONS: Final = 8
# The largest change of the step size in one iteration, which assumes that the noise grows with
# the square of the step size. That is not so at low rates.
_MAX_STEP_FACTOR: Final = 2.0


@dataclass(frozen=True, slots=True)
class QuantizedTensor:
    """A tensor on a grid.

    Attributes:
        codec: the codec with its parameters.
        parts: the parts of the content, each with statistics of its own.
        energy: the energy of the weights.
        noise: the energy of their errors.

    """

    codec: Grid
    parts: list[bytes]
    energy: float
    noise: float


def quantize_with_step(
    encoder: GridEncoder | ScaledGridEncoder, values: NDArray[np.float32], step: float
) -> QuantizedTensor | None:
    """Quantize with a step size in units of the weights, and measure the noise.

    Returns:
        The quantized tensor, or None if the codec cannot represent the step size or a level.

    """
    if not encoder.supports(step):
        return None
    codec, parts = encoder.encode(step)
    restored = np.empty(values.size, np.float32)
    codec.decode_into(b"".join(parts), restored)
    return QuantizedTensor(codec, parts, *measure_noise(values, restored))


def quantize_to_sqnr(
    encoder: GridEncoder | ScaledGridEncoder, values: NDArray[np.float32], sqnr: float
) -> QuantizedTensor | None:
    """Quantize with about the largest step size that gives at least `sqnr` dB.

    Returns:
        The quantized tensor, or None if no supported step size gives this SQNR.

    """
    energy = float(np.square(values, dtype=np.float64).sum())
    # Slightly less than the goal allows, since the recorded noise is rounded to nine digits.
    allowed = energy / 10 ** (sqnr / 10) * (1 - 1e-8)
    step = _find_step(encoder, allowed, values.size)
    for _ in range(_MAX_ITERATIONS):
        found = quantize_with_step(encoder, values, step)
        if found is None or found.noise <= allowed:
            return found
        step *= _MIN_USED * math.sqrt(allowed / found.noise)
    return None


def _find_step(encoder: GridEncoder | ScaledGridEncoder, allowed: float, count: int) -> float:
    step = encoder.estimate_step(allowed / count) or 1.0
    for _ in range(_MAX_ITERATIONS):
        if not encoder.supports(step):
            break
        noise = encoder.estimate_noise(step)
        if _MIN_USED * allowed <= noise <= allowed:
            break
        factor = math.sqrt(allowed * (1 + _MIN_USED) / 2 / noise) if noise else _MAX_STEP_FACTOR
        step *= min(max(factor, 1 / _MAX_STEP_FACTOR), _MAX_STEP_FACTOR)
    return step
