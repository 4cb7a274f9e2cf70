"""Sources that are not in the tree: what the error suggests, and sources made by other hooks."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hatchling.builders.wheel import WheelBuilder

from .conftest import MODEL, PYPROJECT, Project, wheel_names
from .in_process import build_here, fail_here

if TYPE_CHECKING:
    from pathlib import Path

KEY = "tool.hatch.build.hooks.vggq.models[0]"
CUSTOM = "[tool.hatch.build.hooks.custom]\n"
NO_FILE = "no such file, and no packed file src/tiny/tiny.vggq to use instead; "
GET = "get it with the project's download script or `git lfs pull`, or commit the packed file"
PATTERN = "patterns are not supported; write a table for each file"
# A hook that makes the source. numpy is a requirement of hatch-vggq.
FETCH = """\
from pathlib import Path
import numpy as np
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
class Fetch(BuildHookInterface):
    def initialize(self, version, build_data):
        weights = np.random.default_rng(0).standard_normal((40, 50)).astype("f4")
        np.savez(Path(self.root, "weights/tiny.npz"), w=weights)
"""


def model(source: str) -> str:
    return MODEL.replace("weights/tiny.npz", source)


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        ("weights/gone.npz", GET),
        ("gone/tiny.npz", GET),
        ("../gone.npz", GET),
        ("weights/tyni.npz", f"did you mean weights/tiny.npz? If not, {GET}"),
        ("Weights.npz", GET),
        ("notes.tx", f"did you mean notes.txt? If not, {GET}"),
        ("weights/*.npz", f"{PATTERN}, such as weights/other.npz, weights/tiny.npz"),
        ("weights/t?ny.npz", f"{PATTERN}, such as weights/tiny.npz"),
        ("weights/[st]iny.npz", f"{PATTERN}, such as weights/tiny.npz"),
        ("**/*.npz", f"{PATTERN}, such as weights/other.npz, weights/tiny.npz"),
        ("weights/*.pth", PATTERN),
        ("../*.npz", PATTERN),
        ("a**b/x?", PATTERN),
        ("weights/tiny[1].npz", GET),
    ],
)
def test_missing_source_gets_the_next_step(
    project: Project, capsys: pytest.CaptureFixture[str], source: str, advice: str
) -> None:
    (project.root / "notes.txt").write_text("")
    (project.root / "weights" / "other.npz").write_text("")
    project.configure(model(source))
    if source == "weights/tiny[1].npz":
        project.source.unlink()
    assert fail_here(project, capsys) == f"{KEY}.source: {source}: {NO_FILE}{advice}"


def test_source_whose_name_looks_like_a_pattern_is_packed(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a[b].npz", "a*.npz"):
        project.source.with_name(name).write_bytes(project.source.read_bytes())
        project.configure(model(f"weights/{name}"))
        result = build_here(project, capsys)
        assert result.code == 0, result.output
        assert f"weights/{name}: " not in result.output


def test_pattern_with_a_packed_file_is_a_warning(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build_here(project, capsys).code == 0
    project.configure(model("weights/*.npz"))
    result = build_here(project, capsys)
    assert result.code == 0
    assert (
        f"vggq: weights/*.npz: no such file; {PATTERN}, such as weights/tiny.npz"
    ) in result.lines


def test_incomplete_sdist_is_named(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.source.unlink()
    pkg_info = "Metadata-Version: 2.4\nName: tiny\nVersion: 1.0\nRequires-Dist: hatch-vggq\n"
    (project.root / "PKG-INFO").write_text(pkg_info)
    assert fail_here(project, capsys) == (
        f"{KEY}.source: weights/tiny.npz: {NO_FILE}this sdist is incomplete; build it again, or "
        "build from a checkout"
    )


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_hook_that_makes_the_source_too_late_is_named(
    project: Project, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    project.source.unlink()
    (project.root / "hatch_build.py").write_text(FETCH)
    for sdist in ("packed", "source"):
        table = f'{MODEL}sdist = "{sdist}"\n'
        project.configure(table + CUSTOM)
        output = fail_here(project, capsys, kind)
        assert output.endswith(
            "; if the build hook 'custom' makes it, write its table below tool.hatch.build.hooks "
            "and before the one of vggq"
        )
        project.configure(CUSTOM + table)
        result = build_here(project, capsys, kind)
        assert result.code == 0, result.output
        project.source.unlink()
        project.target.unlink(missing_ok=True)
        for path in project.root.glob("dist/*"):
            path.unlink()


def requirements(project: Project) -> list[str]:
    return sorted(WheelBuilder(str(project.root)).config.dependencies)


def test_source_that_an_earlier_hook_may_make_has_requirements(project: Project) -> None:
    packing = ["kmeans1d>=0.4", "zstandard>=0.22"]
    assert requirements(project) == packing
    project.source.unlink()
    assert requirements(project) == []
    (project.root / "hatch_build.py").write_text(FETCH)
    # A later hook makes it too late.
    project.configure(MODEL + CUSTOM)
    assert requirements(project) == []
    for source, reader in {
        "weights/tiny.npz": [],
        "weights/tiny.h5": ["h5py>=3.10"],
        "weights/TINY.KERAS": ["h5py>=3.10"],
        "weights/tiny.onnx": [],
        "weights/tiny": [],
    }.items():
        project.configure(CUSTOM + model(source))
        assert requirements(project) == sorted([*packing, *reader])
    # The packed file can be used instead.
    project.target.write_text("")
    assert requirements(project) == []


@pytest.mark.parametrize(
    ("library", "source", "needed"),
    [
        ("kmeans1d", "weights/tiny.npz", '"kmeans1d>=0.4", "zstandard>=0.22"'),
        ("zstandard", "weights/tiny.npz", '"kmeans1d>=0.4", "zstandard>=0.22"'),
        ("h5py", "weights/tiny.h5", '"h5py>=3.10", "kmeans1d>=0.4", "zstandard>=0.22"'),
    ],
)
def test_missing_library_names_the_lines_of_build_system_requires(
    project: Project,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    library: str,
    source: str,
    needed: str,
) -> None:
    if source.endswith(".h5"):
        (project.root / source).write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    project.configure(model(source))
    monkeypatch.setitem(sys.modules, library, None)
    assert fail_here(project, capsys).splitlines() == [
        f"{KEY}: {library} is not installed",
        (
            f"  in an isolated environment: add {needed} to build-system.requires, because "
            f"{source} did not exist when the build began"
        ),
        "  without build isolation: pip install 'hatch-vggq[build]'",
    ]


def test_missing_library_names_what_all_models_need(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = model("weights/other.h5").replace("tiny.vggq", "other.vggq")
    third = model("weights/third.onnx").replace("tiny.vggq", "third.vggq")
    (project.root / "weights" / "third.onnx").write_text("not a model")
    project.configure(MODEL + other + third)
    monkeypatch.setitem(sys.modules, "kmeans1d", None)
    assert '"h5py>=3.10", "kmeans1d>=0.4", "zstandard>=0.22" to' in fail_here(project, capsys)


def run_isolated(project: Project, wheelhouse: Path, **variables: Any) -> tuple[int, str]:
    links = f"{os.environ.get('PIP_FIND_LINKS', '')} {wheelhouse}".strip()
    command = [sys.executable, "-m", "build", "--wheel"]
    result = project.run(*command, PIP_FIND_LINKS=links, **variables)
    return result.code, result.output


def test_isolated_build_packs_a_source_made_by_another_hook(
    project: Project, wheelhouse: Path
) -> None:
    project.source.unlink()
    (project.root / "hatch_build.py").write_text(FETCH)
    project.configure(CUSTOM + MODEL)
    code, output = run_isolated(project, wheelhouse)
    assert code == 0, output
    assert "tiny/tiny.vggq" in wheel_names(project.wheel)


def test_isolated_build_succeeds_with_the_requirements_that_its_error_lists(
    project: Project, wheelhouse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build_here(project, capsys).code == 0
    project.wheel.unlink()
    # With a packed file in the tree, the hook cannot know that packing will be necessary.
    project.source.unlink()
    (project.root / "hatch_build.py").write_text(FETCH)
    project.configure(CUSTOM + MODEL)
    code, output = run_isolated(project, wheelhouse)
    assert code == 1
    (line,) = (line for line in output.splitlines() if "build-system.requires" in line)
    needed = line.partition("add ")[2].partition(" to build-system")[0]
    project.source.unlink()
    head = PYPROJECT.replace('"hatch-vggq"]\nbuild', f'"hatch-vggq", {needed}]\nbuild')
    project.configure(CUSTOM + MODEL, head)
    code, output = run_isolated(project, wheelhouse)
    assert code == 0, output
    assert "tiny/tiny.vggq" in wheel_names(project.wheel)
