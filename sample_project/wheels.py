"""The sample's wheel, built in a folder of its own with other options of packing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import vggq

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vggq import Weights

SAMPLE = Path(__file__).resolve().parent
WEIGHTS = SAMPLE / "weights" / "vgg19.h5"
PACKED = "vgg19_style/vgg19.vggq"
# What of the sample a wheel is built from, the weights aside.
PARTS = ("pyproject.toml", "README.md", "LICENSE", "NOTICE.md", "src")
GOAL = re.compile(r"^bits = 8$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Wheel:
    """What a wheel came to.

    Attributes:
        size: its bytes.
        packed: its packed file.

    """

    size: int
    packed: bytes

    def open(self) -> Weights:
        """The weights in it."""
        return vggq.open(self.packed)


def build_wheel(options: Mapping[str, Any]) -> Wheel:
    """Build the sample's wheel as `hatchling build` does, packed with `options` in place of `bits`.

    Raises:
        RuntimeError: the build failed; the message is what it said.

    """
    with tempfile.TemporaryDirectory() as folder:
        project = copy_sample(Path(folder, "sample"), options)
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        done = subprocess.run(command, cwd=project, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        (path,) = Path(folder).glob("*.whl")
        with ZipFile(path) as archive:
            return Wheel(path.stat().st_size, archive.read(PACKED))


def copy_sample(project: Path, options: Mapping[str, Any]) -> Path:
    """The sample without anything packed, and with other options in its pyproject.toml."""
    project.mkdir()
    for name in PARTS:
        part = SAMPLE / name
        if part.is_dir():
            shutil.copytree(part, project / name, ignore=shutil.ignore_patterns("*.vggq"))
        else:
            shutil.copy(part, project)
    (project / "weights").symlink_to(WEIGHTS.parent)
    lines = "\n".join(f"{key} = {value}" for key, value in options.items())
    table, found = GOAL.subn(lines, (project / "pyproject.toml").read_text())
    assert found == 1, "the sample's pyproject.toml has no line 'bits = 8'"
    (project / "pyproject.toml").write_text(table)
    return project
