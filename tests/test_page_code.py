"""The Python and TOML on the pages that are neither a walk-through nor docs/models.md."""

from __future__ import annotations

import importlib
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from hatch_vggq.config import parse_config
from vggq.packing import Options, pack, simulate
from vggq.packing.sweeps import evaluate_original
from vggq.packing.tuning import TuneSettings, parse_goal, tune
from vggq.packing.vendoring import vendor

from .helpers import save_npz, save_onnx
from .test_docs import code_blocks

if TYPE_CHECKING:
    from pathlib import Path

STATE = {"head.weight": np.random.default_rng(3).standard_normal((40, 50)).astype(np.float32)}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an importable package with a packed file."""
    folder = tmp_path / "mypackage"
    folder.mkdir()
    (folder / "__init__.py").touch()
    pack(save_npz(tmp_path / "model.npz", STATE), folder / "model.vggq")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "mypackage"]:
        monkeypatch.delitem(sys.modules, name)
    return folder


def run(code: str, **names: Any) -> dict[str, Any]:
    """Run a block of a page, and return what it has defined."""
    exec(code, names)
    return names


@pytest.mark.torch
def test_score_of_a_state_dict(tmp_path: Path) -> None:
    import torch  # noqa: PLC0415

    model = torch.nn.Sequential()
    model.add_module("head", torch.nn.Linear(50, 40, bias=False))
    scores, _, _ = code_blocks("docs/report.md", "python")
    names = run(
        scores, torch=torch, model=model, evaluate=lambda m: float(m.head.weight.detach().sum())
    )
    source = save_npz(tmp_path / "model.npz", STATE)
    found = evaluate_original(names["accuracy"], str(source), Options())
    assert found == {"top1": pytest.approx(float(STATE["head.weight"].sum()), rel=1e-4)}


@pytest.mark.onnxruntime
def test_score_of_a_model(tmp_path: Path) -> None:
    import onnx  # noqa: PLC0415
    import onnxruntime  # noqa: PLC0415

    path = save_onnx(tmp_path / "m.onnx", STATE)
    model = onnx.load(path)
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [40, 50])
    model.graph.node.append(onnx.helper.make_node("Identity", ["head.weight"], ["y"]))
    model.graph.output.append(output)
    model.ir_version = 9
    model.opset_import[0].version = 17
    onnx.save(model, path)
    _, scores, _ = code_blocks("docs/report.md", "python")

    def evaluate(session: onnxruntime.InferenceSession) -> float:
        return float(session.run(None, {})[0].sum())

    names = run(scores, onnxruntime=onnxruntime, evaluate=evaluate)
    found = evaluate_original(names["accuracy"], str(path), Options())
    assert found == {"top1": pytest.approx(float(STATE["head.weight"].sum()), rel=1e-4)}


def test_simulation() -> None:
    _, _, code = code_blocks("docs/report.md", "python")
    names = run(code, state=STATE)
    np.testing.assert_array_equal(names["noisy"]["head.weight"], STATE["head.weight"])
    assert names["simulate"] is simulate


def test_table_after_a_custom_hook() -> None:
    (text,) = code_blocks("docs/hook.md", "toml")
    (model,) = parse_config(tomllib.loads(text)["tool"]["hatch"]["build"]["hooks"]["vggq"]).models
    assert model.target == "src/mypackage/model.vggq"


def test_vendored_run_time(package: Path) -> None:
    vendor(package / "_vggq")
    (code,) = code_blocks("docs/hook.md", "python")
    (package / "__init__.py").write_text(code)
    weights = importlib.import_module("mypackage").weights
    np.testing.assert_array_equal(
        weights["head.weight"], vggq.load(package / "model.vggq")["head.weight"]
    )


@pytest.mark.torch
def test_lines_of_init(package: Path) -> None:
    import torch  # noqa: PLC0415

    module = torch.nn.Sequential()
    module.add_module("head", torch.nn.Linear(50, 40, bias=False))
    (code,) = code_blocks("docs/cli.md", "python")
    run(code, module=module)
    expected = vggq.load(package / "model.vggq")["head.weight"]
    np.testing.assert_array_equal(module.head.weight.detach().numpy(), expected)


@pytest.mark.torch
def test_judge(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = "import torch\n\n\nclass Network(torch.nn.Module):\n    def __init__(self):\n"
    network += (
        "        super().__init__()\n        self.head = torch.nn.Linear(50, 40, bias=False)\n"
    )
    (package / "network.py").write_text(
        f"{network}\n    def forward(self, x):\n        return self.head(x)\n"
    )
    np.save(tmp_path / "inputs.npy", np.ones((3, 50), np.float32))
    (code,) = code_blocks("docs/tuning.md", "python")
    (tmp_path / "judge_on_page.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "judge_on_page", raising=False)
    settings = TuneSettings("judge_on_page:outputs", cache=tmp_path / "cache")
    goal = parse_goal(at_least=0.99)
    tuned = tune(str(tmp_path / "model.npz"), settings, goal, Options())
    assert tuned.best.trial.metrics["cosine"] >= 0.99
