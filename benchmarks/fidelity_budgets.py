"""Random file sizes as goals: whether packing stays within them, and how much of them it uses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from fidelity_points import count_weights

import vggq
from vggq.packing import pack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fidelity_models import BenchmarkModel

# Bits per weight: from less than any file takes to nearly exact.
_MIN_RATE: Final = 0.02
_MAX_RATE: Final = 12.0


@dataclass(frozen=True)
class SizeTrial:
    """The result of packing for one size.

    Attributes:
        size: the size that was requested, in bytes.
        packed_size: bytes of the packed file; None if the size was refused.
        refusal: the error's message if the size was refused.

    """

    size: int
    packed_size: int | None
    refusal: str = ""


def try_random_sizes(
    model: BenchmarkModel, source: Path, count: int, log: Callable[[str], None]
) -> list[SizeTrial]:
    """Pack a model for `count` random sizes, log-uniform, with a seed that depends on the model."""
    weights = count_weights(model)
    rng = np.random.default_rng(weights)
    rates = np.exp(rng.uniform(math.log(_MIN_RATE), math.log(_MAX_RATE), count))
    return [_try_size(source, int(rate * weights / 8), log) for rate in rates]


def _try_size(source: Path, size: int, log: Callable[[str], None]) -> SizeTrial:
    target = source.with_name("budget.vggq")
    try:
        pack(source, target, size=size)
    except vggq.VggqError as error:
        log(f"  size = {size}: {error}")
        return SizeTrial(size, None, str(error))
    packed_size = target.stat().st_size
    log(f"  size = {size}: {packed_size} ({packed_size / size:.4f})")
    return SizeTrial(size, packed_size)
