"""Build the sample's wheel with other packing options, in a temporary folder."""

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
# The files of the sample that a wheel is built from; the weights are linked.
PARTS = ("pyproject.toml", "README.md", "LICENSE", "NOTICE.md", "src")
GOAL = re.compile(r"^bits = 8$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel of the sample.

    Attributes:
        size: bytes of the wheel.
        packed: the content of the packed file in the wheel.

    """

    size: int
    packed: bytes

    def open(self) -> Weights:
        """Open the packed file in the wheel."""
        return vggq.open(self.packed)


def build_wheel(options: Mapping[str, Any]) -> Wheel:
    """Build the sample's wheel with `hatchling build`.

    Args:
        options: the lines of the hook's table that replace `bits = 8`; values in TOML.

    Raises:
        RuntimeError: the build failed; the message is its output on stderr.

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
    """Copy the sample without its packed file, and replace `bits = 8` in its pyproject.toml."""
    project.mkdir()
    for name in PARTS:
        part = SAMPLE / name
        if part.is_dir():
            shutil.copytree(part, project / name, ignore=shutil.ignore_patterns("*.vggq"))
        else:
            shutil.copy(part, project)
    (project / "weights").symlink_to(WEIGHTS.parent)
    lines = "\n".join(f"{key} = {value}" for key, value in options.items())
    pyproject = project / "pyproject.toml"
    text, replaced = GOAL.subn(lines, pyproject.read_text())
    assert replaced == 1, "expected one line 'bits = 8' in the sample's pyproject.toml"
    pyproject.write_text(text)
    return project
