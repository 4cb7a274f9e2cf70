"""The examples of docs/models.md and of the README, run with real libraries."""

from __future__ import annotations

import atexit
import importlib.util
import shutil
import subprocess
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

from .hook.test_transformers import save_bert
from .test_docs import code_blocks
from .tflite_models import network

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

PAGE: Final = "docs/models.md"
# JAX starts threads, so its example runs in a process of its own.
_JAX: Final = "import jax"
EXAMPLES: Final = [
    *(code for code in code_blocks("README.md", "python") if code.startswith("import onnxruntime")),
    *(code for code in code_blocks(PAGE, "python") if not code.startswith(_JAX)),
]
SOURCES: Final = (
    "rec.onnx", "large.onnx", "vad.pt", "encoder.pth", "classifier.keras", "detector.weights.h5",
    "language.safetensors", "tables.npz", "keypoints.tflite", "minilm",
)  # fmt: skip
# The module of the package that makes its networks.
NETWORK: Final = """
import keras
import torch


def make_network():
    return keras.Sequential([keras.Input((64,)), keras.layers.Dense(32)])


class Language(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(90, 60)
        self.head = torch.nn.Linear(60, 90, bias=False)
        self.head.weight = self.embedding.weight
"""
SETTINGS: Final = {"rate": 16_000}
INPUTS: Final = np.random.default_rng(1).standard_normal((3, 64)).astype(np.float32)


def test_tables_are_valid_configurations() -> None:
    for text in (*code_blocks(PAGE, "toml"), code_blocks("README.md", "toml")[1]):
        (model,) = parse_config(
            tomllib.loads(text)["tool"]["hatch"]["build"]["hooks"]["vggq"]
        ).models
        assert model.target.startswith(("src/mypackage/", "src/filekind/"))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a package that has the files of the examples; one is in `filekind`."""
    for name in ("mypackage", "filekind"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    folder = tmp_path / "mypackage"
    (folder / "network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("mypackage", "mypackage.network", "filekind"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    sources = tmp_path / "sources"
    sources.mkdir()
    save_onnx_files(sources)
    save_torch_files(sources)
    save_keras_files(sources)
    (sources / "keypoints.tflite").write_bytes(network().build())
    save_bert(sources / "minilm")
    np.savez(sources / "tables.npz", table=INPUTS, steps=np.arange(4))
    for name in SOURCES:
        target = folder / f"{name.partition('.')[0]}.vggq"
        pack(sources / name, target, restore="model")
    shutil.copy(folder / "rec.vggq", tmp_path / "filekind" / "magika.vggq")
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
    import safetensors.torch  # noqa: PLC0415
    import torch  # noqa: PLC0415

    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 32, bias=False)
    torch.jit.save(torch.jit.script(layer), str(folder / "vad.pt"))
    checkpoint = {"model": layer.state_dict(), "settings": SETTINGS}
    torch.save(checkpoint, folder / "encoder.pth")
    embedding = torch.nn.Embedding(90, 60)
    state = {"embedding.weight": embedding.weight.detach()}
    safetensors.torch.save_file(state, folder / "language.safetensors")


def save_keras_files(folder: Path) -> None:
    """Write a network, and the weights of another one."""
    names: dict[str, Any] = {}
    exec(compile(NETWORK, "network.py", "exec"), names)
    names["make_network"]().save(folder / "classifier.keras")
    names["make_network"]().save_weights(folder / "detector.weights.h5")


def check_session(session: Any, package: Path) -> None:
    (matrix,) = vggq.load(package / "rec.vggq").values()
    (outputs,) = session.run(None, {"x": INPUTS})
    assert_close(outputs, INPUTS @ matrix)


def check_module(module: Any, package: Path) -> None:
    import torch  # noqa: PLC0415

    (matrix,) = vggq.load(package / "vad.vggq").values()
    with torch.no_grad():
        assert_close(module(torch.from_numpy(INPUTS)).numpy(), INPUTS @ matrix.T)


def check_interpreter(interpreter: Any, package: Path) -> None:
    (details,) = interpreter.get_input_details()
    interpreter.set_tensor(details["index"], INPUTS[:1, :48])
    interpreter.invoke()
    expected = vggq.load(package / "keypoints.vggq")
    found = {item["name"]: item["index"] for item in interpreter.get_tensor_details()}
    assert set(expected) <= set(found)
    for name in ("first/kernel", "third/kernel"):
        np.testing.assert_array_equal(interpreter.get_tensor(found[name]), expected[name])


def check_encoder(encoder: Any, package: Path) -> None:
    expected = vggq.load(package / "minilm.vggq")
    state = encoder.state_dict()
    assert set(expected) == set(state)
    for name, values in expected.items():
        np.testing.assert_array_equal(state[name].numpy(), values)


def check_embedder(embedder: Any, package: Path) -> None:
    check_encoder(embedder[0].auto_model, package)
    assert embedder.encode(["the cat sees a bird"]).shape == (1, 64)


def check_checkpoint(checkpoint: Any, package: Path) -> None:
    (matrix,) = vggq.load(package / "encoder.vggq").values()
    assert checkpoint["settings"] == SETTINGS
    np.testing.assert_array_equal(checkpoint["model"]["weight"].numpy(), matrix)


def check_network(network: Any, package: Path) -> None:
    """Look for the weights in either packed file; they were made at random."""
    loaded = [vggq.load(package / f"{name}.vggq") for name in ("classifier", "detector")]
    contents = {values.tobytes() for state in loaded for values in state.values()}
    weights = network.get_weights()
    assert [weight.shape for weight in weights] == [(64, 32), (32,)]
    assert all(weight.tobytes() in contents for weight in weights)


def check_language(language: Any, package: Path) -> None:
    (matrix,) = vggq.load(package / "language.vggq").values()
    np.testing.assert_array_equal(language.embedding.weight.detach().numpy(), matrix)
    assert language.head.weight is language.embedding.weight


def check_arrays(arrays: Any, package: Path) -> None:
    expected = vggq.load(package / "tables.vggq")
    assert set(arrays) == set(expected) == {"table", "steps"}
    for name, values in expected.items():
        np.testing.assert_array_equal(arrays[name], values)


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
    "interpreter": check_interpreter,
    "encoder": check_encoder,
    "embedder": check_embedder,
    "checkpoint": check_checkpoint,
    "network": check_network,
    "language": check_language,
    "arrays": check_arrays,
    "files": check_files,
}


@pytest.mark.litert
@pytest.mark.torch
@pytest.mark.transformers
@pytest.mark.onnxruntime
# TorchScript is deprecated, and Keras calls deprecated functions of torch.
@pytest.mark.filterwarnings("ignore")
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


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_example_gives_arrays_of_jax(package: Path) -> None:
    (code,) = [code for code in code_blocks(PAGE, "python") if code.startswith(_JAX)]
    check = """
assert {name: (str(value.dtype), value.shape) for name, value in parameters.items()} == {
    "table": ("float32", (3, 64)), "steps": ("int32", (4,))
}
assert (parameters["table"] == jnp.asarray(arrays["table"])).all()
"""
    subprocess.run([sys.executable, "-c", code + check], cwd=package.parent, check=True)
