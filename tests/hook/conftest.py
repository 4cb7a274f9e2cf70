"""A small project in a temporary folder, and the commands that build it."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.helpers import save_npz

if TYPE_CHECKING:
    from tests.conftest import BuildOnce

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


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests that build the project."""
    if isinstance(item, pytest.Function) and "project" in item.fixturenames:
        item.add_marker("build")


@dataclass
class Result:
    """The exit code and the output (stdout and stderr together) of a command."""

    code: int
    output: str

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()


@dataclass
class Project:
    """A project folder, with shortcuts to its files and commands."""

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
        """Build a wheel, or the targets in `arguments`, with hatchling itself.

        This takes half of the time that a front end needs, which starts a process for each step.
        """
        targets = [part for target in arguments or ("wheel",) for part in ("-t", target)]
        return self.run(sys.executable, "-m", "hatchling", "build", *targets, **variables)

    def build_with_front_end(self, *arguments: str) -> Result:
        """Build with a front end and the libraries of the test environment."""
        return self.run(sys.executable, "-m", "build", "--no-isolation", *arguments)

    def files(self) -> set[str]:
        """Return the paths of all files below the root, without `__pycache__`."""
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


def extract_sdist(path: Path, folder: Path) -> None:
    """Extract an sdist; the first releases of Python 3.11 have no filters."""
    options = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(path) as archive:
        archive.extractall(folder, **options)  # type: ignore[arg-type]


def sdist_names(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        return set(archive.getnames())


def read_packed_file(archive: Path) -> bytes:
    """Return the packed file of the project `tiny` in its wheel or sdist."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read("tiny/tiny.vggq")
    with tarfile.open(archive) as sdist:
        member = sdist.extractfile("tiny-1.0/src/tiny/tiny.vggq")
        assert member is not None
        return member.read()


def create_project(root: Path, arrays: dict[str, np.ndarray]) -> Project:
    """Create a package `tiny` whose weights are packed with the default options."""
    project = Project(root)
    package = root / "src" / "tiny"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    project.source.parent.mkdir()
    save_npz(project.source, arrays)
    (root / ".gitignore").write_text("*.vggq\n/weights/\n/dist/\n")
    project.configure()
    return project


def create_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    return {
        "layer.weight": rng.standard_normal((64, 32)).astype(np.float32),
        "layer.bias": rng.standard_normal(64).astype(np.float32),
        "steps": np.arange(5),
    }


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    """The weights of `project`."""
    return create_arrays()


@pytest.fixture
def project(tmp_path: Path, arrays: dict[str, np.ndarray]) -> Project:
    return create_project(tmp_path / "project", arrays)


@pytest.fixture(scope="session")
def wheelhouse(build_once: BuildOnce) -> Path:
    """A folder with the wheel of hatch-vggq, for builds in isolated environments."""

    def build_wheel(folder: Path) -> None:
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder)]
        subprocess.run([*command, str(ROOT)], check=True, stdout=subprocess.DEVNULL)

    return build_once("wheelhouse", build_wheel)
