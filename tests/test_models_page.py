"""The examples of docs/models.md and of the README, run with real libraries."""

from __future__ import annotations

import atexit
import sys
import tomllib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import vggq
from hatch_vggq.config import parse_config
from vggq.packing import pack

from .test_docs import code_blocks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

PAGE: Final = "docs/models.md"
EXAMPLES: Final = [
    *(code for code in code_blocks("README.md", "python") if code.startswith("import onnxruntime")),
    *code_blocks(PAGE, "python"),
]
SETTINGS: Final = {"rate": 16_000}
INPUTS: Final = np.random.default_rng(1).standard_normal((3, 64)).astype(np.float32)


def test_tables_are_valid_configurations() -> None:
    for text in (*code_blocks(PAGE, "toml"), code_blocks("README.md", "toml")[1]):
        (model,) = parse_config(
            tomllib.loads(text)["tool"]["hatch"]["build"]["hooks"]["vggq"]
        ).models
        assert model.target.startswith("src/mypackage/")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a package that has the files of the examples."""
    folder = tmp_path / "mypackage"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mypackage", raising=False)
    sources = tmp_path / "sources"
    sources.mkdir()
    save_onnx_files(sources)
    save_torch_files(sources)
    for source in ("rec.onnx", "large.onnx", "vad.pt", "encoder.pth"):
        path = sources / source
        pack(path, folder / path.with_suffix(".vggq").name, restore="model")
    return folder


def save_onnx_files(folder: Path) -> None:
    """Write the same model with its matrix inside and outside of the file."""
    matrix = np.random.default_rng(2).standard_normal((64, 32)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 64])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 32])],
        [numpy_helper.from_array(matrix, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "rec.onnx")
    options: dict[str, Any] = {"location": "large.onnx.data", "size_threshold": 0}
    onnx.save(model, folder / "large.onnx", save_as_external_data=True, **options)


def save_torch_files(folder: Path) -> None:
    """Write a linear layer as TorchScript, and its state dict beside settings."""
    import torch  # noqa: PLC0415

    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 32, bias=False)
    torch.jit.save(torch.jit.script(layer), str(folder / "vad.pt"))
    checkpoint = {"model": layer.state_dict(), "settings": SETTINGS}
    torch.save(checkpoint, folder / "encoder.pth")


def check_session(session: Any, package: Path) -> None:
    (matrix,) = vggq.load(package / "rec.vggq").values()
    (outputs,) = session.run(None, {"x": INPUTS})
    assert_close(outputs, INPUTS @ matrix)


def check_module(module: Any, package: Path) -> None:
    import torch  # noqa: PLC0415

    (matrix,) = vggq.load(package / "vad.vggq").values()
    with torch.no_grad():
        assert_close(module(torch.from_numpy(INPUTS)).numpy(), INPUTS @ matrix.T)


def check_checkpoint(checkpoint: Any, package: Path) -> None:
    (matrix,) = vggq.load(package / "encoder.vggq").values()
    assert checkpoint["settings"] == SETTINGS
    np.testing.assert_array_equal(checkpoint["model"]["weight"].numpy(), matrix)


def check_files(files: Any, package: Path) -> None:
    """Close what the example keeps until the program ends."""
    atexit.unregister(files.close)
    files.close()


def assert_close(found: NDArray[Any], expected: NDArray[Any]) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


# The variable that an example is about, and its check.
CHECKS: Final[dict[str, Callable[[Any, Path], None]]] = {
    "session": check_session,
    "module": check_module,
    "checkpoint": check_checkpoint,
    "files": check_files,
}


@pytest.mark.torch
@pytest.mark.onnxruntime
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("code", EXAMPLES)
def test_example_restores_a_model_that_works(code: str, package: Path) -> None:
    names: dict[str, Any] = {}
    exec(compile(code, PAGE, "exec"), names)
    if "files" in names:
        assert names["path"].read_bytes()
    (subject,) = CHECKS.keys() & names.keys()
    CHECKS[subject](names[subject], package)
    if "path" in names:
        assert not names["path"].exists()
