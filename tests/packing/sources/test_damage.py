"""Every format, cut off and with bytes changed: an error, or what is there, and nothing else.

A format with checksums gives an error or what was written. The others cannot know: a changed weight
is another weight to every reader. There, whatever is given has to be what was written, or what the
format's own library gives of the changed file, bit for bit.
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

from tests.helpers import save_npz, save_onnx
from vggq.errors import SourceError
from vggq.packing.sources import FORMATS, identify, open_source

from .test_sources import (
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

    Seen = dict[str, tuple[str, tuple[int, ...], bytes]]

CUTS = 50
CHANGES = 200
# Nothing here takes a second: what takes as long hangs, perhaps where no signal is heeded.
HANGS = 100


def seen(arrays: dict[str, NDArray[Any]]) -> Seen:
    """What is compared: dtypes without their byte order, shapes and little-endian bytes."""
    little = {name: array.astype(array.dtype.newbyteorder("<")) for name, array in arrays.items()}
    return {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in little.items()}


def ours(path: Path) -> Seen:
    with open_source(path) as source:
        return seen({tensor.name: tensor.read() for tensor in source.tensors})


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
    """As Keras 3 writes its weights."""
    with h5py.File(path, "w") as file:
        for number, array in enumerate(state.values()):
            file[f"layers/dense_{number}/vars/0"] = array


def save_torch(path: Path, state: dict[str, NDArray[Any]], *, zipped: bool = True) -> None:
    import torch  # noqa: PLC0415

    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    torch.save({"state_dict": tensors}, path, _use_new_zipfile_serialization=zipped)


def save_torch_legacy(path: Path, state: dict[str, NDArray[Any]]) -> None:
    save_torch(path, state, zipped=False)


def of_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    return safetensors.numpy.load(path.read_bytes())


def of_sharded(path: Path) -> dict[str, NDArray[Any]]:
    weight_map = json.loads(path.read_text())["weight_map"]
    return {name: of_safetensors(path.with_name(shard))[name] for name, shard in weight_map.items()}


def of_npy(path: Path) -> dict[str, NDArray[Any]]:
    return {path.stem: np.load(path)}


def of_hdf5(path: Path) -> dict[str, NDArray[Any]]:
    found = {}
    with h5py.File(path) as file:
        datasets: list[Any] = []
        file.visititems(
            lambda _, item: datasets.append(item) if isinstance(item, h5py.Dataset) else None
        )
        for dataset in datasets:
            found[dataset.name.lstrip("/")] = np.asarray(dataset[()])
    return found


def of_onnx(path: Path) -> dict[str, NDArray[Any]]:
    initializers = onnx.load(path).graph.initializer
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in initializers}
    # Of what numpy has not, the bits.
    return {
        name: array.view(f"u{array.itemsize}") if array.dtype.kind == "V" else array
        for name, array in arrays.items()
    }


def of_torch(path: Path) -> dict[str, NDArray[Any]]:
    import torch  # noqa: PLC0415

    (state,) = torch.load(path).values()
    return {name: tensor.numpy() for name, tensor in state.items()}


@dataclass(frozen=True)
class Kind:
    """How a format is written, and read where it has no checksums; which file of it is damaged."""

    name: str
    save: Callable[[Path, dict[str, NDArray[Any]]], object]
    read: Callable[[Path], dict[str, NDArray[Any]]] | None = None
    part: str | None = None


KINDS = {
    "safetensors": Kind("m.safetensors", save_safetensors, of_safetensors),
    "sharded, the index": Kind("m.safetensors.index.json", save_sharded, of_sharded),
    "sharded, a shard": Kind(
        "m.safetensors.index.json", save_sharded, of_sharded, "model-1.safetensors"
    ),
    "torch": Kind("m.pth", save_torch),
    "torch-legacy": Kind("m.pth", save_torch_legacy, of_torch),
    "npz": Kind("m.npz", save_npz),
    "npz, compressed": Kind("m.npz", save_compressed),
    "npy": Kind("m.npy", save_npy, of_npy),
    "keras-hdf5": Kind("m.h5", save_hdf5, of_hdf5),
    "keras-hdf5, chunked": Kind("m.h5", save_chunked, of_hdf5),
    "keras-hdf5, numbered": Kind("m.weights.h5", save_numbered_hdf5, of_hdf5),
    "keras": Kind("m.keras", save_keras_archive),
    "keras, deflated": Kind("m.keras", save_deflated_archive),
    "onnx": Kind("m.onnx", save_onnx, of_onnx),
    "onnx, external": Kind("m.onnx", save_external_onnx, of_onnx),
    "onnx, the data": Kind("m.onnx", save_external_onnx, of_onnx, "data"),
}


def labels(*chosen: str) -> list[Any]:
    """Parameters of tests; torch's are marked."""
    return [
        pytest.param(label, marks=[pytest.mark.torch] if label.startswith("torch") else [])
        for label in chosen
    ]


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
    assert identify(path).name == request.param.partition(",")[0]
    damaged = path if kind.part is None else path.with_name(kind.part)
    faulthandler.dump_traceback_later(HANGS, exit=True)
    yield Written(kind, path, damaged, damaged.read_bytes())
    faulthandler.cancel_dump_traceback_later()


def test_every_format_is_here() -> None:
    assert {label.partition(",")[0] for label in KINDS} == {fmt.name for fmt in FORMATS}


def test_a_file_that_is_cut_short(written: Written) -> None:
    for length in np.linspace(0, len(written.content) - 1, CUTS, dtype=int):
        written.damaged.write_bytes(written.content[:length])
        with pytest.raises(SourceError):
            ours(written.path)


def test_a_file_with_a_byte_changed(written: Written) -> None:
    original = ours(written.path)
    chance = random.Random(11)
    refused = 0
    for number in range(CHANGES):
        changed = bytearray(written.content)
        # Of one bit, or of any.
        change = 1 << chance.randrange(8) if number % 2 else chance.randrange(1, 256)
        changed[chance.randrange(len(changed))] ^= change
        written.damaged.write_bytes(changed)
        try:
            found = ours(written.path)
        except SourceError:
            refused += 1
        else:
            assert found == original or found == theirs(written)
    # Nothing but weights is in there.
    assert refused or written.kind.part == "data"


def theirs(written: Written) -> Seen | None:
    """What the format's own library gives, if it gives anything and is to be asked."""
    if written.kind.read is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return seen(written.kind.read(written.path))
        except Exception:  # noqa: BLE001 - whatever a library says of damage
            return None


@pytest.mark.parametrize("label", labels("torch", "npz", "keras"))
def test_where_there_are_checksums_every_weight_is_covered(tmp_path: Path, label: str) -> None:
    """Every single byte of the weights, changed, is found."""
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
            ours(path)
