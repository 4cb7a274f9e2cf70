"""Whole models, packed by the hook and opened with the libraries that read them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import vggq

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Project

# Sums of products in another order differ by no more than this.
TOLERANCE = 1e-4
# The largest relative L2 error that 8 bits may make in one layer.
MAX_ERROR = 0.02


def relative_error(found: Any, expected: Any) -> float:
    """Return the relative L2 distance of two arrays."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def build(project: Project, source: Path, options: str = "") -> bytes:
    """Pack a source with the hook, and return the packed file of the wheel."""
    target = project.root / "src" / "tiny" / "model.vggq"
    project.configure(f"""
        [[tool.hatch.build.hooks.vggq.models]]
        source = "weights/{source.name}"
        target = "src/tiny/model.vggq"
        {options}
    """)
    result = project.build("wheel")
    assert result.code == 0, result.output
    return target.read_bytes()


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_module_of_2_mb_is_restored_and_runs(project: Project) -> None:
    import torch  # noqa: PLC0415

    torch.manual_seed(3)
    layers = [torch.nn.Linear(512, 512), torch.nn.ReLU(), torch.nn.Linear(512, 512)]
    module = torch.nn.Sequential(*layers).eval()
    source = project.root / "weights" / "module.pt"
    torch.jit.save(torch.jit.script(module), str(source))
    assert source.stat().st_size > 2_000_000
    inputs = torch.randn(4, 512)
    with torch.no_grad():
        expected = module(inputs)
        packed = build(project, source)
        assert len(packed) < 600_000
        restored = torch.jit.load(io.BytesIO(vggq.read_bytes(packed)))
        outputs = restored(inputs)
    assert relative_error(outputs, expected) < MAX_ERROR
    arrays = vggq.load(packed)
    state = restored.state_dict()
    assert sorted(array.tobytes() for array in arrays.values()) == sorted(
        tensor.numpy().tobytes() for tensor in state.values()
    )
    exact = build(project, source, 'keep = ["*"]')
    assert vggq.read_bytes(exact) == source.read_bytes()


@pytest.mark.onnxruntime
def test_onnx_model_with_external_data_is_restored_and_runs(project: Project) -> None:
    import onnxruntime  # noqa: PLC0415

    rng = np.random.default_rng(3)
    matrix = rng.standard_normal((256, 128)).astype(np.float32)
    source = project.root / "weights" / "model.onnx"
    save_with_external_data(source, matrix)
    packed = build(project, source)
    inputs = rng.standard_normal((4, 256)).astype(np.float32)
    with vggq.as_file(packed) as path:
        assert [file.name for file in sorted(path.parent.iterdir())] == ["model.data", "model.onnx"]
        session = onnxruntime.InferenceSession(path)
        (outputs,) = session.run(None, {"x": inputs})
    assert not path.parent.exists()
    (restored,) = vggq.load(packed).values()
    assert 0 < relative_error(outputs, inputs @ matrix) < MAX_ERROR
    np.testing.assert_allclose(outputs, inputs @ restored, rtol=TOLERANCE, atol=TOLERANCE)


def save_with_external_data(path: Path, matrix: np.ndarray) -> None:
    """Write a model that multiplies `x` by a matrix, which is in a file of its own."""
    rows, columns = matrix.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, rows])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, columns])],
        [numpy_helper.from_array(matrix, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data = path.with_suffix(".data").name
    onnx.save(model, path, save_as_external_data=True, location=data, size_threshold=0)
