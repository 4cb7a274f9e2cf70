"""Sizes drawn at random: whether packing for them keeps within them, and uses them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from fidelity_points import weights_of

import vggq
from vggq.packing import pack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fidelity_models import Model

# From what no file is as small as, to what is near exact. In bits per weight.
_LEAST: Final = 0.02
_MOST: Final = 12.0


@dataclass(frozen=True)
class Budget:
    """A size in bytes, and the bytes of the file; or why there is none."""

    size: int
    found: int | None
    refusal: str = ""


def draw(model: Model, source: Path, count: int, say: Callable[[str], None]) -> list[Budget]:
    """So many budgets, their logarithms drawn evenly, with a seed of the model's own."""
    rng = np.random.default_rng(weights_of(model))
    rates = np.exp(rng.uniform(math.log(_LEAST), math.log(_MOST), count))
    return [_try(source, int(rate * weights_of(model) / 8), say) for rate in rates]


def _try(source: Path, size: int, say: Callable[[str], None]) -> Budget:
    target = source.with_name("budget.vggq")
    try:
        pack(source, target, size=size)
    except vggq.VggqError as error:
        say(f"  size = {size}: {error}")
        return Budget(size, None, str(error))
    found = target.stat().st_size
    say(f"  size = {size}: {found} ({found / size:.4f})")
    return Budget(size, found)
