"""The part of the demo for `onnx_sample`: what to fetch, and how to check the result."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).resolve().parent
PROJECT = SAMPLE / "onnx_sample"
MODEL = "the ONNX model of magika 0.5.1"
MAX_BYTES = 300_000
WEIGHTS = PROJECT / "weights" / "magika.onnx"
EXPECTED = {
    SAMPLE / "README.md": "markdown",
    SAMPLE / "demo.py": "python",
    SAMPLE / "images" / "harbour.jpg": "jpeg",
    PROJECT / "pyproject.toml": "ini",
}


def fetch() -> int:
    """Fetch the model, and return the exit code."""
    command = [sys.executable, str(PROJECT / "fetch_model.py")]
    return subprocess.run(command, check=False).returncode


def check(python: Path, wheel: Path) -> int:
    """Print the figures; return 1 if the wheel is too large or a file gets the wrong kind."""
    figures = compare_models(python)
    size, original = wheel.stat().st_size, WEIGHTS.stat().st_size
    found = {Path(file): kind for file, kind in figures["kinds"].items()}
    print(f"ONNX model           {original / 1e6:8.2f} MB")
    print(f"wheel                {size / 1e6:8.2f} MB  ({original / size:.2f}x smaller)")
    print(f"same kind as before  {figures['same']:8} of {len(found)} files")
    print(f"largest difference   {figures['largest_difference']:8.4f} of a probability")
    for path, kind in found.items():
        print(f"{path.name:<20} {kind:>8}")
    if size > MAX_BYTES or found != EXPECTED or figures["same"] != len(found):
        kinds = ", ".join(EXPECTED.values())
        print(f"expected at most {MAX_BYTES / 1e6} MB, and the kinds {kinds} from both models")
        return 1
    return 0


def compare_models(python: Path) -> dict[str, Any]:
    """Run `check_kinds.py` in the new environment, and return its figures.

    The working directory and `-I` keep the source code of this repository off the import path.
    """
    script, files = str(PROJECT / "check_kinds.py"), [str(path) for path in EXPECTED]
    command = [str(python), "-I", script, str(WEIGHTS), *files]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=python.parent)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures
