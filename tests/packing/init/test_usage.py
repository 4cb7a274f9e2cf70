"""The lines of Python for each kind of source, of which those that can run here are run."""

from __future__ import annotations

import ast
import importlib
import json
import sys
from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np
import pytest
import safetensors.numpy

import vggq
from tests.helpers import save_npz, save_onnx
from tests.packing.init.test_shapes import HATCHLING, MODEL, PROJECT, make, set_up
from vggq.packing import pack
from vggq.packing.init import plan_setup
from vggq.packing.init._sources import ModelSource
from vggq.packing.init._usage import show_usage

if TYPE_CHECKING:
    from pathlib import Path

ARRAY: Final = np.random.default_rng(2).standard_normal((30, 40)).astype(np.float32)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {"pyproject.toml": HATCHLING + PROJECT, "my_package/__init__.py": ""}
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_package", raising=False)
    importlib.invalidate_caches()
    return make(tmp_path, files)


def run(root: Path, source: Path, **names: Any) -> dict[str, Any]:
    """Pack a source into the package as the hook does, and run the lines for it."""
    pack(source, root / "my_package" / source.with_suffix(".vggq").name)
    exec(plan_setup(root, source).usage, names)
    return names


def test_lines_for_arrays(project: Path) -> None:
    names = run(project, project / "weights" / "model.npz")
    assert list(names["arrays"]) == ["w"]


@pytest.mark.torch
def test_lines_for_a_state_dict(project: Path) -> None:
    import torch  # noqa: PLC0415

    module, filled = torch.nn.Linear(40, 30), torch.nn.Linear(40, 30)
    source = project / "weights" / "dict.pth"
    torch.save(module.state_dict(), source)
    run(project, source, module=filled)
    assert torch.allclose(module.weight, filled.weight, atol=1e-2)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_lines_for_torchscript(project: Path) -> None:
    import torch  # noqa: PLC0415

    module = torch.nn.Linear(40, 30)
    source = project / "weights" / "script.pt"
    torch.jit.script(module).save(source)
    restored = run(project, source)["module"]
    inputs = torch.ones(1, 40)
    assert torch.allclose(module(inputs), restored(inputs), atol=0.1)


@pytest.mark.onnxruntime
@pytest.mark.parametrize("has_data_file", [False, True])
def test_lines_for_onnx(project: Path, *, has_data_file: bool) -> None:
    import onnx  # noqa: PLC0415

    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 30])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 40])],
        [onnx.numpy_helper.from_array(ARRAY, "w")],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
    source = project / "weights" / "rec.onnx"
    options: dict[str, Any] = {"location": "rec.onnx.data", "size_threshold": 0}
    onnx.save(
        model, source, **({"save_as_external_data": True, **options} if has_data_file else {})
    )
    inputs = np.ones((1, 30), np.float32)
    (found,) = run(project, source)["session"].run(None, {"x": inputs})
    np.testing.assert_allclose(found, inputs @ ARRAY, atol=0.5)
    ignored = set_up(project, "weights/rec.onnx")[".gitignore"].split()
    assert ignored == ["*.vggq", "/weights/rec.onnx", *["/weights/rec.onnx.data"] * has_data_file]


@pytest.mark.parametrize(
    ("dependency", "line", "remark"),
    [("torch", 'layout = "torch"\n', False), ("keras", "", True), ("numpy", "", True)],
)
def test_keras_weights_get_the_layout_of_torch_for_packages_that_use_torch(
    project: Path, dependency: str, line: str, *, remark: bool
) -> None:
    with h5py.File(project / "weights" / "model.h5", "w") as file:
        file["w"] = ARRAY
    text = HATCHLING + PROJECT + f'\n[project.optional-dependencies]\nx = ["{dependency}>=2"]\n'
    (project / "pyproject.toml").write_bytes(text.encode())
    source = project / "weights" / "model.h5"
    plan = plan_setup(project, source)
    changed = plan.changes[0].new
    assert changed.endswith(MODEL.format("my_package").replace("npz", "h5") + line)
    assert ("vggq.torch.load_into(module, " in plan.usage) == bool(line)
    assert any("restore" in text for text in plan.remarks) == remark
    set_up(project, "weights/model.h5")
    assert plan_setup(project, source).usage == plan.usage


@pytest.mark.parametrize(
    ("kind", "files", "expected"),
    [
        ("tflite", [], 'Interpreter(model_content=vggq.read_bytes("p", "d/m.vggq"))'),
        ("folder", ["config.json"], "AutoModel.from_pretrained(folder)"),
        ("folder", ["config.json", "modules.json"], "SentenceTransformer(str(folder))"),
        ("folder", ["model.bin"], "...  # open the restored model at this path"),
        ("keras-archive", [], "...  # open the restored model at this path"),
    ],
)
def test_lines_for_models_can_be_parsed(
    tmp_path: Path, kind: str, files: list[str], expected: str
) -> None:
    path = tmp_path / "m"
    if files:
        path.mkdir()
    else:
        path.touch()
    for name in files:
        (path / name).touch()
    source = ModelSource(path, kind, "model", "model", (path,), "m")
    usage = show_usage(source, "p", "d/m.vggq", in_torch=True)
    assert expected in usage
    ast.parse(usage)
    used = {
        node.attr
        for node in ast.walk(ast.parse(usage))
        if isinstance(node, ast.Attribute)
        if isinstance(node.value, ast.Name) and node.value.id == "vggq"
    }
    assert used <= set(vggq.__all__)


@pytest.mark.parametrize(
    ("name", "restore", "expected"),
    [
        ("model.npz", "model", 'with vggq.as_file("my_package", "m.vggq") as path:'),
        ("rec.onnx", "tensors", 'arrays = vggq.load("my_package", "m.vggq")'),
    ],
)
def test_lines_follow_the_option_restore_of_a_table(
    project: Path, name: str, restore: str, expected: str
) -> None:
    save_onnx(project / "weights" / "rec.onnx", {"w": ARRAY})
    table = MODEL.format("my_package").replace("model.npz", name).replace("model.v", "m.v")
    with (project / "pyproject.toml").open("a") as file:
        file.write(f'{table}restore = "{restore}"\n')
    plan = plan_setup(project)
    assert expected in plan.usage
    assert not plan.remarks


def test_shards_are_ignored_as_a_folder(project: Path) -> None:
    """More than three lines for one model would be too many."""
    weight_map = {}
    for number in range(4):
        name = f"model-{number}.safetensors"
        safetensors.numpy.save_file({f"w{number}": ARRAY}, project / "weights" / name)
        weight_map[f"w{number}"] = name
    index = project / "weights" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    (project / "weights" / "model.npz").unlink()
    changed = set_up(project, None)
    assert 'target = "my_package/model.vggq"' in changed["pyproject.toml"]
    assert changed[".gitignore"].split() == ["*.vggq", "/weights/"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_names_with_quotes_are_escaped(project: Path) -> None:
    source = save_npz(project / "weights" / 'a"b.npz', {"w": ARRAY})
    names = run(project, source)
    assert list(names["arrays"]) == ["w"]
