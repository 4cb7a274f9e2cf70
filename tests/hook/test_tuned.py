"""Builds with the table that `vggq tune` has written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from tests.helpers import save_npz
from vggq.packing import Options, recorded_evaluation
from vggq.packing.tuning import TuneSettings, parse_goal, tune, write_result

from .conftest import Project, read_packed_file
from .in_process import build_here, fail_here
from .test_sbom import parsed, properties, read

if TYPE_CHECKING:
    from pathlib import Path

REMARK = "evaluation was measured on other tensors, so it is not shown; run vggq tune again"

JUDGE = """\
import numpy as np

INPUTS = np.random.default_rng(0).standard_normal((20, 32)).astype(np.float32)

def answers(weights):
    return INPUTS @ weights["layer.weight"].T
"""


@pytest.fixture
def tuned_project(
    project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """Return a project with the options of `vggq tune`; the judge is not there in a build."""
    folder = tmp_path_factory.mktemp("judge")
    (folder / "judge_of_tiny.py").write_text(JUDGE)
    with monkeypatch.context() as patched:
        patched.syspath_prepend(folder)
        settings = TuneSettings("judge_of_tiny:answers", trials=4, cache=folder / "cache")
        options = Options(dependent=False)
        tuned = tune(project.source, settings, parse_goal(at_most=0.05), options)
    write_result(project.source, tuned, project.root)
    table = (project.root / "tuned.toml").read_text()
    table = table.replace(project.source.as_posix(), "weights/tiny.npz")
    project.configure(table.replace("src/mypackage/", "src/tiny/"))
    return project


def recorded(path: Path) -> Any:
    with vggq.open(path) as weights:
        return recorded_evaluation(weights.manifest.options, weights)


def test_build_packs_the_tuned_file(
    tuned_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    result = build_here(tuned_project, capsys)
    assert result.code == 0, result.output
    assert "not accuracy" not in result.output
    assert "evaluation" not in result.output
    tuned = (tuned_project.root / "tuned.vggq").read_bytes()
    assert read_packed_file(tuned_project.wheel) == tuned
    (model,) = parsed(read(tuned_project.wheel))["components"]
    found = properties(model)
    assert found["vggq:metric"] == "error"
    assert float(found["vggq:metric:original"]) == 0
    assert 0 < float(found["vggq:metric:packed"]) <= 0.05
    assert str(recorded(tuned_project.target).packed) == found["vggq:metric:packed"]


def test_build_uses_the_recorded_factors(
    tuned_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tuned_project.root / "importance.json"
    factors = json.loads(path.read_text())
    factors["layer.weight"] *= 4
    path.write_text(json.dumps(factors))
    result = build_here(tuned_project, capsys)
    assert result.code == 0, result.output
    with vggq.open(tuned_project.target) as weights:
        assert weights.manifest.options["quantization"]["importance"] == factors


def test_build_without_the_factors_says_where_they_are(
    tuned_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (tuned_project.root / "importance.json").unlink()
    assert fail_here(tuned_project, capsys) == (
        "tool.hatch.build.hooks.vggq.models[0].importance: 'importance.json' cannot be read: No "
        "such file or directory; copy it from the folder that `vggq tune` wrote"
    )


def test_build_of_other_tensors_leaves_the_evaluation_out(
    tuned_project: Project, arrays: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    arrays["layer.weight"] = arrays["layer.weight"] * np.float32(1.01)
    save_npz(tuned_project.source, arrays)
    result = build_here(tuned_project, capsys)
    assert result.code == 0, result.output
    assert f"vggq: weights/tiny.npz: {REMARK}" in result.output
    assert recorded(tuned_project.target) is None
    (model,) = parsed(read(tuned_project.wheel))["components"]
    assert not [name for name in properties(model) if "metric" in name]
