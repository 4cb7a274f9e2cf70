"""A small real project in a temporary folder, and real front ends to build it with."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import save_npz

ROOT = Path(__file__).resolve().parents[2]

PYPROJECT = """\
[build-system]
requires = ["hatchling", "hatch-vggq"]
build-backend = "hatchling.build"

[project]
name = "tiny"
version = "1.0"
dependencies = ["hatch-vggq"]
"""

MODEL = """
[[tool.hatch.build.hooks.vggq.models]]
source = "weights/tiny.npz"
target = "src/tiny/tiny.vggq"
"""


@dataclass
class Result:
    """What a command came to; `lines` are those of stdout and stderr together."""

    code: int
    output: str

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()


@dataclass
class Project:
    """A project's root, and what can be done with it."""

    root: Path

    @property
    def source(self) -> Path:
        return self.root / "weights" / "tiny.npz"

    @property
    def target(self) -> Path:
        return self.root / "src" / "tiny" / "tiny.vggq"

    def configure(self, tables: str = MODEL, head: str = PYPROJECT) -> None:
        (self.root / "pyproject.toml").write_text(head + textwrap.dedent(tables))

    def run(self, *command: str, **variables: str) -> Result:
        done = subprocess.run(
            command,
            cwd=self.root,
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Result(done.returncode, done.stdout)

    def build(self, *arguments: str, **variables: str) -> Result:
        """Build with the libraries of the test environment: quick, and no network."""
        return self.run(
            sys.executable, "-m", "build", "--no-isolation", *(arguments or ("-w",)), **variables
        )

    def files(self) -> set[str]:
        """Every file below the root, but for what Python leaves behind."""
        return {
            path.relative_to(self.root).as_posix()
            for path in self.root.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }

    @property
    def wheel(self) -> Path:
        return self.root / "dist" / "tiny-1.0-py2.py3-none-any.whl"

    @property
    def sdist(self) -> Path:
        return self.root / "dist" / "tiny-1.0.tar.gz"


def wheel_names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def sdist_names(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        return set(archive.getnames())


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    return {
        "layer.weight": rng.standard_normal((64, 32)).astype(np.float32),
        "layer.bias": rng.standard_normal(64).astype(np.float32),
        "steps": np.arange(5),
    }


@pytest.fixture
def project(tmp_path: Path, arrays: dict[str, np.ndarray]) -> Project:
    """A package `tiny` whose weights are to be packed with the defaults."""
    made = Project(tmp_path / "project")
    package = made.root / "src" / "tiny"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    made.source.parent.mkdir()
    save_npz(made.source, arrays)
    (made.root / ".gitignore").write_text("*.vggq\n/weights/\n/dist/\n")
    made.configure()
    return made


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of hatch-vggq, for builds that install what they need."""
    folder = tmp_path_factory.mktemp("wheelhouse")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True, stdout=subprocess.DEVNULL)
    return folder
