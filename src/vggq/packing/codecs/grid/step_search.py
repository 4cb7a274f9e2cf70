"""The step of the ``grid`` codec that gives what is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...metrics import measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...._codecs import Grid
    from .encoder import Coder

# Of the allowed error so much is to be used: the rest is less than a hundredth of a decibel.
_LEAST: Final = 0.998
_ROUNDS: Final = 8
# A step is not changed by more at a time: at low rates the error does not follow its square.
_MOST_CHANGE: Final = 2.0


@dataclass(frozen=True, slots=True)
class Quantized:
    """A tensor on a grid: the codec, the parts of its content, its energy and its noise."""

    codec: Grid
    parts: list[bytes]
    energy: float
    noise: float


def with_step(coder: Coder, values: NDArray[np.float32], step: float) -> Quantized | None:
    """Quantize with a step in units of the weights, and measure.

    None where the step or a level is beyond what the codec takes.
    """
    if not coder.takes(step):
        return None
    codec, parts = coder.encode(step)
    restored = np.empty(values.size, np.float32)
    codec.decode_into(b"".join(parts), restored)
    return Quantized(codec, parts, *measure(values, restored))


def at_least(coder: Coder, values: NDArray[np.float32], sqnr: float) -> Quantized | None:
    """Quantize with the largest step that leaves at least so many decibels, if one does."""
    energy = float(np.square(values, dtype=np.float64).sum())
    # A little less, since what is recorded has nine digits.
    allowed = energy / 10 ** (sqnr / 10) * (1 - 1e-8)
    step = _find_step(coder, allowed, values.size)
    for _ in range(_ROUNDS):
        found = with_step(coder, values, step)
        if found is None or found.noise <= allowed:
            return found
        step *= _LEAST * math.sqrt(allowed / found.noise)
    return None


def _find_step(coder: Coder, allowed: float, count: int) -> float:
    step = coder.step_of(allowed / count) or 1.0
    for _ in range(_ROUNDS):
        if not coder.takes(step):
            break
        noise = coder.noise(step)
        if _LEAST * allowed <= noise <= allowed:
            break
        change: Any = math.sqrt(allowed * (1 + _LEAST) / 2 / noise) if noise else _MOST_CHANGE
        step *= min(max(change, 1 / _MOST_CHANGE), _MOST_CHANGE)
    return step
