"""Accuracy of the trained networks on splits of their held-out digits, for `tune.py`.

`vggq tune --eval tune_accuracy:NAME_N` calls the function of a network for the split N.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from network_outputs import HELD_OUT_DIGITS, digits_outputs
from sklearn.datasets import load_digits

import vggq
from vggq.errors import OptionError
from vggq.packing import Options, pack
from vggq.packing.sweeps import original_state
from vggq.packing.tuning import TuneSettings, parse_goal, tune

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Accuracy = Callable[[dict[str, Any]], float]

SHARE: Final = 0.005
"""The share of the accuracy that may be lost."""

# Sizes to try without tuning: that of codebooks with these bits, and smaller ones in steps.
_LARGEST_BITS: Final = 6
_STEP: Final = 0.98
_STEPS: Final = 120


def __getattr__(name: str) -> Accuracy:
    """Return the accuracy of a network on a split."""
    network, _, split = name.rpartition("_")
    if network not in ("convnet", "transformer"):
        raise AttributeError(name)
    return _make(network, int(split))


@functools.cache
def _make(network: str, split: int) -> Accuracy:
    outputs = digits_outputs(network, slice(None))
    _, digits = load_digits(return_X_y=True)
    labels = digits[np.random.default_rng(0).permutation(len(digits))][:HELD_OUT_DIGITS]
    chosen = np.random.default_rng(1 + split).permutation(HELD_OUT_DIGITS)[: HELD_OUT_DIGITS // 2]

    def accuracy(state: dict[str, Any]) -> float:
        found = outputs(state)[0].argmax(axis=1) == labels
        return float(found[chosen].mean())

    return accuracy


def measure_within(network: str, split: int, source: Path, folder: Path) -> dict[str, Any]:
    """Return the bytes of the tuned file, and of the smallest untuned ones by objective."""
    accuracy = _make(network, split)
    original = accuracy(original_state(source, Options()))

    def passes(path: Path) -> bool:
        return accuracy(vggq.load(path)) >= original * (1 - SHARE)

    row: dict[str, Any] = {"original": original}
    for objective in ("relative", "overall"):
        sizes = Sizes(source, objective, folder / f"within-{network}-{objective}")
        row[objective] = sizes.find_smallest(passes)
    settings = TuneSettings(f"tune_accuracy:{network}_{split}", cache=folder / "cache")
    tuned = tune(source, settings, parse_goal(within=SHARE), Options())
    return row | {"bytes": tuned.best.trial.size, "chosen": tuned.best.label}


@dataclass(frozen=True)
class Sizes:
    """Files of many sizes, each of which is packed once.

    Attributes:
        source: the checkpoint.
        objective: the objective.
        folder: the folder of the files.

    """

    source: Path
    objective: str
    folder: Path

    def find_smallest(self, passes: Callable[[Path], bool]) -> int:
        """Return the bytes of the smallest file that passes, by bisection.

        Raises:
            ValueError: no file passes.

        """
        low, high = -1, _STEPS
        while high - low > 1:
            middle = (low + high) // 2
            path = self._pack(middle)
            low, high = (middle, high) if path and passes(path) else (low, middle)
        if low < 0:
            raise ValueError(f"{self.source}: no size passes with objective {self.objective}")
        return self._path(low).stat().st_size

    def _pack(self, step: int) -> Path | None:
        """Return the file of a size; None if no file is as small."""
        path = self._path(step)
        if not path.exists():
            self.folder.mkdir(exist_ok=True)
            largest = self.folder / "largest.vggq"
            if not largest.exists():
                pack(self.source, largest, bits=_LARGEST_BITS)
            size = int(largest.stat().st_size * _STEP**step)
            try:
                pack(self.source, path, size=size, objective=self.objective)
            except OptionError:
                return None
        return path

    def _path(self, step: int) -> Path:
        return self.folder / f"{step}.vggq"
