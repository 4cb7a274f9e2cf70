"""Everything that the pages show is done in a temporary project, from top to bottom."""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import vggq
import vggq.packing
from tests.helpers import save_npz
from tests.test_docs import ROOT, read

from .conftest import wheel_names
from .pages import Block, PageProject, read_blocks

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from tests.conftest import BuildOnce

BACKENDS: Final = ("setuptools", "uv_build", "Poetry", "PDM")
# What is done in one project, one after the other: the sections of a page, or all of them.
SCENARIOS: Final[dict[str, tuple[str, list[str] | None]]] = {
    "quick start": ("docs/quick-start.md", None),
    "choosing": ("docs/choosing.md", None),
    "migrating": ("docs/migrating.md", None),
    "publishing": ("docs/publishing.md", None),
    "git lfs": ("docs/contributors.md", ["", "Git LFS"]),
    "fetch script": ("docs/contributors.md", ["", "A script that fetches the weights", "CI"]),
    "file in git": (
        "docs/contributors.md",
        ["", "The packed file in git", "Jobs that need no model"],
    ),
    **{
        backend: ("docs/without-hatch.md", ["Pack the weights", backend, "Check the wheel"])
        for backend in BACKENDS
    },
    "home": ("docs/index.md", None),
    "api": ("docs/api.md", None),
    "errors": ("docs/errors.md", None),
    "how it works": ("docs/how-it-works.md", None),
    "security": ("SECURITY.md", None),
}
PAGES: Final = sorted({page for page, _ in SCENARIOS.values()})
# For these the package is installed, with its packed file.
INSTALLED: Final = {"home", "api", "errors", "security"}
# Blocks that do not run, by their first lines, and the reason.
NOT_RUN: Final = {
    "git clone https://github.com/hatch-vggq/hatch-vggq": "needs the repository's server",
    "git lfs install": "needs the program git-lfs, which is not a Python package",
    "tool.hatch.build.hooks.vggq.models[0].source: weights/model.pth: a Git LFS pointer, not the "
    "weights; run `git lfs pull`": "the error of a build; test_build_names_a_pointer compares it",
}
IGNORED: Final = "*.vggq\n/weights/\n/dist/\n"
HEAD: Final = """\
[build-system]
requires = ["hatchling", "hatch-vggq"]
build-backend = "hatchling.build"

[project]
name = "mypackage"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["hatch-vggq"]

[[tool.hatch.build.hooks.vggq.models]]
source = "weights/model.pth"
target = "src/mypackage/model.vggq"
"""
CLI: Final = """\
from .weights import load_weights


def main():
    print(len(load_weights()), "tensors")
"""


@pytest.fixture(scope="session")
def weights(build_once: BuildOnce) -> Path:
    """Return a folder with the same network in every format that the pages use."""

    def save(folder: Path) -> None:
        import torch  # noqa: PLC0415

        torch.manual_seed(0)
        layers = [torch.nn.Linear(784, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10)]
        state = torch.nn.Sequential(*layers).state_dict()
        torch.save(state, folder / "model.pth")
        arrays = {name: tensor.numpy() for name, tensor in state.items()}
        save_npz(folder / "model.npz", arrays)
        save_perceptron(folder / "model.onnx", arrays)

    return build_once("page-weights", save)


def save_perceptron(path: Path, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["a"], transB=1),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "2.weight", "2.bias"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "perceptron",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 784])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 10])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)


@pytest.fixture
def project(
    tmp_path: Path, weights: Path, wheelhouse: Path, monkeypatch: pytest.MonkeyPatch
) -> PageProject:
    """Return a git repository with a package `mypackage` and its weights."""
    for name in ("HATCH_ENV_ACTIVE", "HATCH_ENV", "VIRTUAL_ENV", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    variables = {
        "PIP_FIND_LINKS": f"{os.environ.get('PIP_FIND_LINKS', '')} {wheelhouse}".strip(),
        "UV_FIND_LINKS": str(wheelhouse),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_REFRESH_PACKAGE": "hatch-vggq",
        **{
            f"GIT_{role}_{part}": "nobody@example.org"
            for role in ("AUTHOR", "COMMITTER")
            for part in ("NAME", "EMAIL")
        },
    }
    made = PageProject(tmp_path, variables)
    (made.root / "weights").mkdir()
    for file in weights.iterdir():
        (made.root / "weights" / file.name).write_bytes(file.read_bytes())
    made.write("pyproject.toml", HEAD)
    made.write(".gitignore", IGNORED)
    made.write("src/mypackage/__init__.py", "")
    made.write("src/mypackage/cli.py", CLI)
    made.write("src/mypackage/labels.txt", "zero\n")
    made.write("tests/test_weights.py", "")
    made.bash("git init --quiet")
    return made


def blocks_of(scenario: str) -> list[Block]:
    page, sections = SCENARIOS[scenario]
    blocks = read_blocks(page)
    if sections is None:
        return blocks
    return [block for section in sections for block in blocks if block.section == section]


def prepare(project: PageProject, scenario: str) -> None:
    """Bring the project to the state in which a reader begins."""
    if scenario in INSTALLED:
        project.bash("vggq pack weights/model.pth src/mypackage/model.vggq")
        project.extend_path(str(project.root / "src"))
    if scenario == "migrating":
        project.bash("rm pyproject.toml .gitignore && git add . --force")
    if scenario == "fetch script":
        project.bash("mv weights/model.pth ..")


def with_real_weights(block: Block, project: PageProject) -> Block:
    """Return the block with the address and the SHA-256 of weights that can be fetched."""
    file = project.root.parent / "model.pth"
    if not file.exists():
        return block
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    code = block.code.replace("https://example.org/model-1.0.pth", file.as_uri())
    return replace(block, code=code.replace("0" * 64, digest))


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.onnxruntime
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_everything_on_a_page_works(scenario: str, project: PageProject) -> None:
    prepare(project, scenario)
    for block in blocks_of(scenario):
        if block.first_line not in NOT_RUN:
            project.follow(with_real_weights(block, project))
    if scenario in BACKENDS:
        assert_only_the_packed_file_ships(project.root / "dist")
    if scenario == "migrating":
        before, after = (
            package_files(project.root / folder / "mypackage-1.0-py3-none-any.whl")
            for folder in ("../before", "dist")
        )
        assert after == before | {"mypackage/model.vggq"}


def package_files(wheel: Path) -> set[str]:
    return {name for name in wheel_names(wheel) if name.startswith("mypackage/")}


def assert_only_the_packed_file_ships(folder: Path) -> None:
    """Assert that the wheel and the sdist have the packed file, and not the weights."""
    with zipfile.ZipFile(folder / "mypackage-1.0-py3-none-any.whl") as wheel:
        names = set(wheel.namelist())
        assert "mypackage/model.vggq" in names
        assert len(vggq.load(wheel.read("mypackage/model.vggq"))) == 4
    with tarfile.open(folder / "mypackage-1.0.tar.gz") as sdist:
        names |= set(sdist.getnames())
    assert "mypackage-1.0/src/mypackage/model.vggq" in names
    assert not [name for name in names if name.endswith((".pth", ".onnx", ".npz"))]


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("backend", BACKENDS)
def test_other_backends_ignore_the_table_of_the_hook(backend: str, project: PageProject) -> None:
    """Build with the table, and without `vggq pack`, which is what the warning is about."""
    (pyproject,) = [block for block in blocks_of(backend) if block.path == "pyproject.toml"]
    table = HEAD.partition("[[")[2]
    project.write("pyproject.toml", f"{pyproject.code}\n[[{table}")
    project.bash("python -m build --wheel")
    with zipfile.ZipFile(project.root / "dist" / "mypackage-1.0-py3-none-any.whl") as wheel:
        assert not [name for name in wheel.namelist() if name.endswith(".vggq")]


@pytest.mark.slow
@pytest.mark.torch
def test_build_names_a_pointer(project: PageProject) -> None:
    (message,) = [block for block in blocks_of("git lfs") if "a Git LFS pointer" in block.code]
    project.write(
        "weights/model.pth", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    )
    assert project.run(["python", "-m", "build", "--wheel"]) == 1
    assert message.code in project.output


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_is_in_a_scenario(page: str) -> None:
    scenarios = [name for name, (other, _) in SCENARIOS.items() if other == page]
    covered = [block for name in scenarios for block in blocks_of(name)]
    assert [block for block in read_blocks(page) if block not in covered] == []
    # Code that is only indented would not run.
    assert not re.search(r"^\n    \S", read(page), re.MULTILINE)


def test_every_block_that_does_not_run_exists() -> None:
    lines = {block.first_line for page in PAGES for block in read_blocks(page)}
    assert set(NOT_RUN) <= lines


@pytest.mark.torch
def test_api_page_lists_every_public_name() -> None:
    import vggq.torch  # noqa: PLC0415

    listed = re.findall(r"^\.\. auto\w+:: ([\w.]+)", read("docs/api.md"), re.MULTILINE)
    expected = {f"vggq.{name}" for name in vggq.__all__} - {"vggq.VggqError"}
    expected |= {f"vggq.torch.{name}" for name in vggq.torch.__all__}
    packing = {name for name in listed if name.startswith("vggq.packing.")}
    assert set(listed) - packing == expected
    assert packing <= {f"vggq.packing.{name}" for name in vggq.packing.__all__}


def test_contents_list_every_page() -> None:
    """Sphinx warns about pages that are in no list of contents; this runs without it."""
    contents = re.findall(r"^(?:.* <)?([\w./-]+)>?$", read("docs/index.md"), re.MULTILINE)
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
    assert pages <= {*contents}
