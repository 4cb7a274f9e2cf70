"""The checkpoints and the model of `large.py`: random matrices, written in every format."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import onnx
import safetensors.numpy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 4000
MILLION = 1_000_000


def make_tensors(
    millions: int, first_rows: int = SIDE
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield names and random matrices of several scales, of `millions` million weights in all.

    Args:
        millions: the number of weights, in millions.
        first_rows: the number of rows of the first matrix; the others have at most SIDE.

    """
    rng = np.random.default_rng(0)
    left = millions * MILLION
    index = 0
    while left > 0:
        rows = min(SIDE if index else first_rows, -(-left // SIDE))
        scale = np.float32(0.01 + 0.01 * (index % 7))
        values = rng.standard_normal((rows, SIDE), np.float32) * scale
        yield f"layers.{index}.weight", values
        index, left = index + 1, left - values.size


def write_safetensors(path: Path, millions: int) -> None:
    """Write one safetensors file; the library needs all tensors in memory."""
    safetensors.numpy.save_file(dict(make_tensors(millions)), path)


def write_sharded(path: Path, millions: int) -> None:
    """Write a safetensors file for each tensor, and their index."""
    weight_map = {}
    for name, values in make_tensors(millions):
        weight_map[name] = f"{name}.safetensors"
        safetensors.numpy.save_file({name: values}, path.with_name(weight_map[name]))
    path.write_text(json.dumps({"weight_map": weight_map}))


def write_torch(path: Path, millions: int) -> None:
    """Write torch's zip format."""
    import torch  # noqa: PLC0415 - keeps torch out of the measured process

    state = {name: torch.from_numpy(values) for name, values in make_tensors(millions)}
    torch.save(state, path)


def write_torch_legacy(path: Path, millions: int) -> None:
    """Write the format of torch before 1.6."""
    import torch  # noqa: PLC0415 - keeps torch out of the measured process

    state = {name: torch.from_numpy(values) for name, values in make_tensors(millions)}
    torch.save(state, path, _use_new_zipfile_serialization=False)


def write_npz(path: Path, millions: int) -> None:
    """Write an uncompressed numpy archive."""
    state: dict[str, Any] = dict(make_tensors(millions))
    np.savez(path, **state)


def write_hdf5(path: Path, millions: int) -> None:
    """Write an HDF5 file with a dataset for each tensor."""
    with h5py.File(path, "w") as file:
        for name, values in make_tensors(millions):
            file[name] = values


def write_keras(path: Path, millions: int) -> None:
    """Write a Keras archive: a zip of an HDF5 file and an empty model description."""
    weights = path.with_name("model.weights.h5")
    with h5py.File(weights, "w") as file:
        for index, (_, values) in enumerate(make_tensors(millions)):
            file[f"layers/dense_{index}/vars/0"] = values
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", "{}")
        archive.write(weights, weights.name)
    weights.unlink()


def write_onnx(path: Path, millions: int, first_rows: int = SIDE) -> None:
    """Write an ONNX model with external data; `first_rows` is that of `make_tensors`."""
    initializers = []
    with path.with_name("model.data").open("wb") as data:
        for name, values in make_tensors(millions, first_rows):
            tensor = onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT)
            tensor.dims.extend(values.shape)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            location = {"location": "model.data", "offset": data.tell(), "length": values.nbytes}
            for key, value in location.items():
                tensor.external_data.add(key=key, value=str(value))
            initializers.append(tensor)
            data.write(values.data)
    graph = onnx.helper.make_graph([], "g", [], [], initializers)
    onnx.save(onnx.helper.make_model(graph), path)


# The file name of each format, and the function that writes it.
FORMAT_WRITERS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "safetensors": ("model.safetensors", write_safetensors),
    "sharded": ("model.safetensors.index.json", write_sharded),
    "torch": ("model.pth", write_torch),
    "torch-legacy": ("model.pt", write_torch_legacy),
    "npz": ("model.npz", write_npz),
    "keras-hdf5": ("model.h5", write_hdf5),
    "keras": ("model.keras", write_keras),
    "onnx": ("model.onnx", write_onnx),
}
