"""Truncated files and files with a changed byte, in every format.

With checksums in the format, the result must be an error or the original tensors. Without them, a
changed weight is simply another weight to every reader. The result must then be an error, the
original tensors, or the tensors that the format's own library reads from the changed file, bit for
bit.
"""

from __future__ import annotations

import faulthandler
import json
import random
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import onnx
import pytest
import safetensors.numpy
from packaging.version import Version

from tests.helpers import save_npz, save_onnx
from tests.tflite_models import TYPES, Model
from vggq.errors import SourceError
from vggq.packing.sources import FORMATS, ReadOptions, identify_format, open_source

from .test_formats import (
    STATE,
    save_chunked,
    save_compressed,
    save_deflated_archive,
    save_external_onnx,
    save_hdf5,
    save_keras_archive,
    save_safetensors,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Snapshot = dict[str, tuple[str, tuple[int, ...], bytes]]

CUTS = 50
CHANGES = 200
# No test takes a second. One that takes this long hangs, perhaps in C code that ignores signals.
TIMEOUT = 100
TFLITE_DTYPES = {number: dtype for dtype, number in TYPES.items()}
# Compare the bits of bfloat16 and float8.
TFLITE_DTYPES |= {18: "<u2", 21: "|u1", 22: "|u1"}


def snapshot(arrays: dict[str, NDArray[Any]]) -> Snapshot:
    """Return the parts to compare: dtypes, shapes and values, all in little-endian order."""
    little = {name: array.astype(array.dtype.newbyteorder("<")) for name, array in arrays.items()}
    return {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in little.items()}


def read_snapshot(path: Path) -> Snapshot:
    with open_source(path, ReadOptions(restore="tensors")) as source:
        return snapshot({tensor.name: tensor.read() for tensor in source.tensors})


def save_sharded(path: Path, state: dict[str, NDArray[Any]]) -> None:
    names = list(state)
    weight_map: dict[str, str] = {}
    for number, part in enumerate((names[:3], names[3:])):
        shard = f"model-{number}.safetensors"
        safetensors.numpy.save_file({name: state[name] for name in part}, path.with_name(shard))
        weight_map |= dict.fromkeys(part, shard)
    path.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def save_npy(path: Path, state: dict[str, NDArray[Any]]) -> None:
    np.save(path, state["deep/er.name"])


def save_numbered_hdf5(path: Path, state: dict[str, NDArray[Any]]) -> None:
    """Write weights as Keras 3 does."""
    with h5py.File(path, "w") as file:
        for number, array in enumerate(state.values()):
            file[f"layers/dense_{number}/vars/0"] = array


def save_keras_sharded(path: Path, state: dict[str, NDArray[Any]]) -> None:
    """Write weights as Keras 3.10 does, in two files."""
    names = list(state)
    weight_map: dict[str, list[str]] = {}
    for number, part in enumerate((names[:3], names[3:])):
        shard = f"m_{number:05}.weights.h5"
        with h5py.File(path.with_name(shard), "w") as file:
            for name in part:
                file[f"layers/{name}/vars/0"] = state[name]
                weight_map[f"/layers/{name}/vars"] = [shard]
    size = sum(array.nbytes for array in state.values())
    path.write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": weight_map}))


def save_torch(path: Path, state: dict[str, NDArray[Any]], *, zipped: bool = True) -> None:
    import torch  # noqa: PLC0415

    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    torch.save({"state_dict": tensors}, path, _use_new_zipfile_serialization=zipped)


def save_torch_legacy(path: Path, state: dict[str, NDArray[Any]]) -> None:
    save_torch(path, state, zipped=False)


def save_tflite(path: Path, state: dict[str, NDArray[Any]]) -> None:
    model = Model()
    for name, array in state.items():
        model.add_constant(name, array)
    # The last byte only pads the values before it.
    path.write_bytes(model.build()[:-1])


def load_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    return safetensors.numpy.load(path.read_bytes())


def load_sharded(path: Path) -> dict[str, NDArray[Any]]:
    weight_map = json.loads(path.read_text())["weight_map"]
    return {
        name: load_safetensors(path.with_name(shard))[name] for name, shard in weight_map.items()
    }


def load_npy(path: Path) -> dict[str, NDArray[Any]]:
    return {path.stem: np.load(path)}


def load_hdf5(path: Path) -> dict[str, NDArray[Any]]:
    found = {}
    with h5py.File(path) as file:
        datasets: list[Any] = []
        file.visititems(
            lambda _, item: datasets.append(item) if isinstance(item, h5py.Dataset) else None
        )
        for dataset in datasets:
            found[dataset.name.lstrip("/")] = np.asarray(dataset[()])
    return found


def load_keras_sharded(path: Path) -> dict[str, NDArray[Any]]:
    weight_map = json.loads(path.read_text())["weight_map"]
    shards = dict.fromkeys(name for names in weight_map.values() for name in names)
    return {
        name: array for shard in shards for name, array in load_hdf5(path.with_name(shard)).items()
    }


def load_onnx(path: Path) -> dict[str, NDArray[Any]]:
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        # onnx reads no data for a name that is no Unicode.
        if isinstance(tensor.name, bytes):
            tensor.name = tensor.name.decode("utf-8", "backslashreplace")
    onnx.load_external_data_for_model(model, str(path.parent))
    initializers = model.graph.initializer
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in initializers}
    # Compare the bits of dtypes that numpy lacks.
    return {
        name: array.view(f"u{array.itemsize}") if array.dtype.kind == "V" else array
        for name, array in arrays.items()
    }


def load_tflite(path: Path) -> dict[str, NDArray[Any]]:
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415

    model = schema.Model.GetRootAs(path.read_bytes())
    found = {}
    for number in range(model.Subgraphs(0).TensorsLength()):
        tensor = model.Subgraphs(0).Tensors(number)
        buffer = model.Buffers(tensor.Buffer())
        if buffer.DataLength():
            dtype = TFLITE_DTYPES[tensor.Type()]
            shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
            name = (tensor.Name() or b"unnamed").decode("utf-8", "backslashreplace")
            found[name] = buffer.DataAsNumpy().view(dtype).reshape(shape)
    return found


def load_torch(path: Path) -> dict[str, NDArray[Any]]:
    import torch  # noqa: PLC0415

    (state,) = torch.load(path).values()
    return {name: tensor.numpy() for name, tensor in state.items()}


@dataclass(frozen=True)
class Kind:
    """A way of writing a checkpoint.

    Attributes:
        name: file name.
        save: writes the file.
        read: reads it with the format's own library; None if the format has checksums.
        part: name of the file to damage, if it is not the checkpoint itself.

    """

    name: str
    save: Callable[[Path, dict[str, NDArray[Any]]], object]
    read: Callable[[Path], dict[str, NDArray[Any]]] | None = None
    part: str | None = None


KINDS = {
    "safetensors": Kind("m.safetensors", save_safetensors, load_safetensors),
    "sharded, the index": Kind("m.safetensors.index.json", save_sharded, load_sharded),
    "sharded, a shard": Kind(
        "m.safetensors.index.json", save_sharded, load_sharded, "model-1.safetensors"
    ),
    "torch": Kind("m.pth", save_torch),
    "torch-legacy": Kind("m.pth", save_torch_legacy, load_torch),
    "npz": Kind("m.npz", save_npz),
    "npz, compressed": Kind("m.npz", save_compressed),
    "npy": Kind("m.npy", save_npy, load_npy),
    "keras-hdf5": Kind("m.h5", save_hdf5, load_hdf5),
    "keras-hdf5, chunked": Kind("m.h5", save_chunked, load_hdf5),
    "keras-hdf5, numbered": Kind("m.weights.h5", save_numbered_hdf5, load_hdf5),
    "keras-sharded, the index": Kind("m.weights.json", save_keras_sharded, load_keras_sharded),
    "keras-sharded, a shard": Kind(
        "m.weights.json", save_keras_sharded, load_keras_sharded, "m_00001.weights.h5"
    ),
    "keras": Kind("m.keras", save_keras_archive),
    "keras, deflated": Kind("m.keras", save_deflated_archive),
    "onnx": Kind("m.onnx", save_onnx, load_onnx),
    "onnx, external": Kind("m.onnx", save_external_onnx, load_onnx),
    "onnx, the data": Kind("m.onnx", save_external_onnx, load_onnx, "data"),
    "tflite": Kind("m.tflite", save_tflite, load_tflite),
}


def labels(*chosen: str) -> list[Any]:
    """Return parameters for a test, with a mark for those that need a library."""
    needs = {"torch": [pytest.mark.torch], "torch-legacy": [pytest.mark.torch],
             "tflite": [pytest.mark.litert]}  # fmt: skip
    return [pytest.param(label, marks=needs.get(label, [])) for label in chosen]


@dataclass(frozen=True)
class Written:
    kind: Kind
    path: Path
    damaged: Path
    content: bytes


@pytest.fixture(params=labels(*KINDS))
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Written]:
    kind = KINDS[request.param]
    path = tmp_path / kind.name
    kind.save(path, STATE)
    assert identify_format(path).name == request.param.partition(",")[0]
    damaged = path if kind.part is None else path.with_name(kind.part)
    faulthandler.dump_traceback_later(TIMEOUT, exit=True)
    yield Written(kind, path, damaged, damaged.read_bytes())
    faulthandler.cancel_dump_traceback_later()


def test_these_tests_cover_every_format() -> None:
    assert {label.partition(",")[0] for label in KINDS} == {fmt.name for fmt in FORMATS}


def test_open_rejects_truncated_files(written: Written) -> None:
    for length in np.linspace(0, len(written.content) - 1, CUTS, dtype=int):
        written.damaged.write_bytes(written.content[:length])
        with pytest.raises(SourceError):
            read_snapshot(written.path)


def test_a_changed_byte_gives_an_error_or_harmless_values(written: Written) -> None:
    if written.kind.save is save_external_onnx and Version(onnx.__version__) < Version("1.21"):
        pytest.skip("onnx before 1.21 reads too much external data if a tensor is empty")
    original = read_snapshot(written.path)
    rng = random.Random(11)
    rejected = 0
    for number in range(CHANGES):
        changed = bytearray(written.content)
        # Flip one bit, or several.
        change = 1 << rng.randrange(8) if number % 2 else rng.randrange(1, 256)
        changed[rng.randrange(len(changed))] ^= change
        written.damaged.write_bytes(changed)
        try:
            found = read_snapshot(written.path)
        except SourceError:
            rejected += 1
        else:
            assert found == original or found == library_snapshot(written)
    # A file of external data contains only weights, so no change is an error.
    assert rejected or written.kind.part == "data"


def library_snapshot(written: Written) -> Snapshot | None:
    """Read with the format's own library; None if it fails, or if the format has checksums."""
    if written.kind.read is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return snapshot(written.kind.read(written.path))
        except Exception:  # noqa: BLE001 - any exception a library raises over damage
            return None


@pytest.mark.parametrize("label", labels("torch", "npz", "keras"))
def test_checksums_detect_a_change_of_any_byte(tmp_path: Path, label: str) -> None:
    path = tmp_path / KINDS[label].name
    values = np.arange(64, dtype=np.float32)
    KINDS[label].save(path, {"w": values})
    content = path.read_bytes()
    start = content.index(values.tobytes())
    for place in range(start, start + values.nbytes):
        changed = bytearray(content)
        changed[place] ^= 0xFF
        path.write_bytes(changed)
        with pytest.raises(SourceError):
            read_snapshot(path)
