"""Builds and installations by all front ends, in isolated and clean environments.

All of them must give the same packed file, the same lists of files and the same arrays.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

import vggq
from tests.helpers import save_npz

from .conftest import (
    MODEL,
    ROOT,
    Project,
    create_arrays,
    create_project,
    extract_sdist,
    read_packed_file,
    sdist_names,
    wheel_names,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import BuildOnce


pytestmark = pytest.mark.slow

PACKAGE = """\
import vggq


def load():
    return vggq.load(__name__, "tiny.vggq")
"""
# Print a digest of the names and the content of all restored arrays.
DIGEST = """\
import hashlib, tiny
digest = hashlib.sha256()
for name, array in tiny.load().items():
    assert array.flags.writeable
    digest.update(f"{name} {array.shape} {array.dtype}".encode() + array.tobytes())
print(digest.hexdigest())
"""
WHEEL_FILES = {
    "tiny/__init__.py",
    "tiny/tiny.vggq",
    "tiny-1.0.dist-info/METADATA",
    "tiny-1.0.dist-info/RECORD",
    "tiny-1.0.dist-info/WHEEL",
    "tiny-1.0.dist-info/sboms/hatch-vggq.cdx.json",
}
SDIST_FILES = {
    "tiny-1.0/.gitignore",
    "tiny-1.0/PKG-INFO",
    "tiny-1.0/pyproject.toml",
    "tiny-1.0/src/tiny/__init__.py",
    "tiny-1.0/src/tiny/tiny.vggq",
}

BUILD = [sys.executable, "-m", "build"]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
HATCH = [sys.executable, "-m", "hatch"]
UV = [sys.executable, "-m", "uv"]

# hatch builds the project in its working directory.
IN_TREE = (
    "import subprocess, sys; "
    "sys.exit(subprocess.call([sys.executable, *sys.argv[1:]], cwd='tiny-1.0'))"
)

FROM_CHECKOUT = {
    "build, both": [*BUILD],
    "build, wheel": [*BUILD, "-w"],
    "pip wheel": [*PIP, "wheel", "--no-deps", "-w", "dist", "."],
    "uv build": [*UV, "build"],
    "uv build, wheel": [*UV, "build", "--wheel"],
    "hatch build": [*HATCH, "build"],
    "hatch build, wheel": [*HATCH, "build", "-t", "wheel"],
}
SDIST_ONLY = {
    "build": [*BUILD, "-s"],
    "uv": [*UV, "build", "--sdist"],
    "hatch": [*HATCH, "build", "-t", "sdist"],
}
FROM_SDIST = {
    "build": [*BUILD, "-w", "-o", "out", "{tree}"],
    "pip": [*PIP, "wheel", "--no-deps", "-w", "out", "{sdist}"],
    "uv": [*UV, "build", "--wheel", "-o", "out", "{sdist}"],
    "hatch": [sys.executable, "-c", IN_TREE, "-m", "hatch", "build", "-t", "wheel", "../out"],
}


@pytest.fixture
def front(
    project: Project, wheelhouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """The project, with settings for front ends to find hatch-vggq in the wheelhouse."""
    (project.root / "src" / "tiny" / "__init__.py").write_text(PACKAGE)
    pip_links = f"{os.environ.get('PIP_FIND_LINKS', '')} {wheelhouse}".strip()
    monkeypatch.setenv("PIP_FIND_LINKS", pip_links)
    # Setting this to 0 makes pip skip the compilation, which takes longer than the installation.
    monkeypatch.setenv("PIP_NO_COMPILE", "0")
    monkeypatch.setenv("UV_FIND_LINKS", str(wheelhouse))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    monkeypatch.setenv("UV_REFRESH_PACKAGE", "hatch-vggq")
    monkeypatch.setenv("HATCH_DATA_DIR", str(tmp_path / "hatch"))
    # The environments that front ends create must not depend on the one that runs the tests.
    for name in ("HATCH_ENV_ACTIVE", "HATCH_ENV", "VIRTUAL_ENV", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    return project


def succeed(project: Project, command: list[str]) -> str:
    result = project.run(*command)
    assert result.code == 0, result.output
    return result.output


def create_environment(project: Project, folder: Path) -> list[str]:
    """Create an environment without pip, and return the command of its Python."""
    succeed(project, [*UV, "venv", "--quiet", "--python", sys.executable, str(folder)])
    return [str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")]


def digest_of_installed(python: list[str], folder: Path) -> str:
    """Return the digest of the arrays that the installed package restores."""
    done = subprocess.run(
        [*python, "-I", "-c", DIGEST], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def digest_of_target(project: Project) -> str:
    digest = hashlib.sha256()
    for name, array in vggq.load(project.target).items():
        digest.update(f"{name} {array.shape} {array.dtype}".encode() + array.tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="session")
def reference(build_once: BuildOnce) -> bytes:
    """The packed file from a build without isolation."""

    def build(folder: Path) -> None:
        assert create_project(folder / "project", create_arrays()).build("wheel").code == 0

    return read_packed_file(Project(build_once("reference", build) / "project").wheel)


@pytest.mark.parametrize("way", FROM_CHECKOUT)
def test_build_from_checkout_gives_the_reference_file(
    front: Project, reference: bytes, tmp_path: Path, way: str
) -> None:
    succeed(front, FROM_CHECKOUT[way])
    assert wheel_names(front.wheel) == WHEEL_FILES
    assert read_packed_file(front.wheel) == reference
    if front.sdist.exists():
        assert sdist_names(front.sdist) == SDIST_FILES
        assert read_packed_file(front.sdist) == reference
    python = create_environment(front, tmp_path / "clean")
    installer = install_with_pip if way == "pip wheel" else install_with_uv
    succeed(front, [*installer(python), str(front.wheel)])
    assert digest_of_installed(python, tmp_path) == digest_of_target(front)


@pytest.mark.parametrize("from_sdist", FROM_SDIST)
@pytest.mark.parametrize("way", SDIST_ONLY)
def test_build_from_sdist_gives_the_reference_file(
    front: Project, reference: bytes, tmp_path: Path, way: str, from_sdist: str
) -> None:
    succeed(front, SDIST_ONLY[way])
    assert sdist_names(front.sdist) == SDIST_FILES
    assert read_packed_file(front.sdist) == reference
    elsewhere = Project(tmp_path / "elsewhere")
    elsewhere.root.mkdir()
    extract_sdist(front.sdist, elsewhere.root)
    places = {"sdist": str(front.sdist), "tree": "tiny-1.0"}
    output = succeed(elsewhere, [part.format(**places) for part in FROM_SDIST[from_sdist]])
    assert "kmeans1d" not in output
    (wheel,) = (elsewhere.root / "out").glob("*.whl")
    assert wheel_names(wheel) == WHEEL_FILES
    assert read_packed_file(wheel) == reference
    python = create_environment(front, tmp_path / "clean")
    succeed(front, [*install_with_uv(python), str(wheel)])
    assert digest_of_installed(python, tmp_path) == digest_of_target(front)


def install_with_pip(python: list[str]) -> list[str]:
    return [*PIP, "--python", python[0], "install", "--quiet"]


def install_with_uv(python: list[str]) -> list[str]:
    return [*UV, "pip", "install", "--python", python[0]]


@pytest.mark.parametrize("installer", [install_with_pip, install_with_uv])
@pytest.mark.parametrize("editable", [False, True])
def test_installed_checkout_restores_the_current_weights(
    front: Project,
    tmp_path: Path,
    arrays: dict[str, np.ndarray],
    installer: object,
    *,
    editable: bool,
) -> None:
    assert callable(installer)
    python = create_environment(front, tmp_path / "clean")
    command = [*installer(python), *(["-e"] if editable else []), "."]
    succeed(front, command)
    first = digest_of_installed(python, tmp_path)
    assert first == digest_of_target(front)
    arrays["layer.weight"] *= 2
    save_npz(front.source, arrays)
    again = ["--force-reinstall", "--no-deps"] if installer is install_with_pip else ["--reinstall"]
    succeed(front, [*command, *again])
    assert digest_of_installed(python, tmp_path) == digest_of_target(front) != first


def test_uv_sync_installs_a_working_package(front: Project, tmp_path: Path) -> None:
    succeed(front, [*UV, "sync"])
    python = [str(front.root / ".venv" / ("Scripts" if os.name == "nt" else "bin") / "python")]
    assert digest_of_installed(python, tmp_path) == digest_of_target(front)


def test_hatch_run_restores_the_weights(front: Project, tmp_path: Path) -> None:
    script = tmp_path / "digest.py"
    script.write_text(DIGEST)
    output = succeed(front, [*HATCH, "run", "python", "-I", str(script)])
    assert output.splitlines()[-1] == digest_of_target(front)


def test_load_names_missing_hooks_when_built_without_them(front: Project, tmp_path: Path) -> None:
    result = front.build("wheel", HATCH_BUILD_NO_HOOKS="true")
    assert result.code == 0
    assert "tiny/tiny.vggq" not in wheel_names(front.wheel)
    python = create_environment(front, tmp_path / "clean")
    succeed(front, [*install_with_pip(python), str(front.wheel)])
    done = subprocess.run(
        [*python, "-I", "-c", DIGEST], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1].endswith(
        "PackedFileError: 'tiny.vggq' in package 'tiny': no such file; "
        "was the wheel built without packing the model?"
    )


def test_wheel_with_two_packages_has_both_models(
    front: Project, arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """Build a package and a namespace package; `sources` moves both in the wheel."""
    other = front.root / "lib" / "space" / "other"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text(PACKAGE)
    save_npz(front.root / "weights" / "other.npz", arrays)
    second = MODEL.replace("weights/tiny", "weights/other")
    second = second.replace("src/tiny/tiny.vggq", "lib/space/other/tiny.vggq")
    only = '[tool.hatch.build.targets.wheel]\nonly-include = ["src/tiny", "lib/space"]\n'
    front.configure(f'{MODEL}{second}{only}sources = ["src", "lib"]\n')
    result = front.build("wheel")
    assert result.code == 0, result.output
    assert {"tiny/tiny.vggq", "space/other/tiny.vggq"} < wheel_names(front.wheel)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import vggq; "
        "print(len(vggq.load('tiny', 'tiny.vggq')), len(vggq.load('space.other', 'tiny.vggq')))"
    )
    with zipfile.ZipFile(front.wheel) as wheel:
        wheel.extractall(tmp_path / "unpacked")
    result = front.run(sys.executable, "-c", code, str(tmp_path / "unpacked"))
    assert result.output.strip() == "3 3"


def test_sample_project_passes_twine_and_check_wheel_contents(
    front: Project, wheelhouse: Path, tmp_path: Path
) -> None:
    """Build the sample project with small weights instead of the real ones."""
    sample = tmp_path / "sample"
    shutil.copytree(
        ROOT / "sample_project", sample, ignore=shutil.ignore_patterns("*.vggq", "weights", "dist")
    )
    (sample / "weights").mkdir()
    with h5py.File(sample / "weights" / "vgg19.h5", "w") as file:
        file.attrs["layer_names"] = [b"block1_conv1"]
        layer = file.create_group("block1_conv1")
        layer.attrs["weight_names"] = [b"block1_conv1_W_1:0"]
        layer["block1_conv1_W_1:0"] = np.random.default_rng(0).standard_normal((3, 3, 3, 64))
    made = Project(sample)
    succeed(made, BUILD)
    wheel = str(sample / "dist" / "vgg19_style-1.0.0-py3-none-any.whl")
    sdist = str(sample / "dist" / "vgg19_style-1.0.0.tar.gz")
    succeed(made, [sys.executable, "-m", "twine", "check", "--strict", wheel, sdist])
    succeed(made, [sys.executable, "-m", "check_wheel_contents", wheel])
    assert wheel_names(sample / "dist" / wheel) == {
        "vgg19_style/__init__.py",
        "vgg19_style/cli.py",
        "vgg19_style/images.py",
        "vgg19_style/model.py",
        "vgg19_style/py.typed",
        "vgg19_style/transfer.py",
        "vgg19_style/vgg19.vggq",
        *(
            f"vgg19_style-1.0.0.dist-info/{name}"
            for name in (
                "METADATA",
                "RECORD",
                "WHEEL",
                "entry_points.txt",
                "licenses/LICENSE",
                "licenses/NOTICE.md",
                "sboms/hatch-vggq.cdx.json",
            )
        ),
    }
