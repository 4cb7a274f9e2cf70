"""Small sound files of every kind: what fuzzing starts from.

::

    python -m tests.fuzz.corpus FOLDER
"""

from __future__ import annotations

import json
import pickle
import sys
import tempfile
import zipfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np
import safetensors.numpy

from tests.helpers import save_npz, save_onnx
from vggq._container import read_header
from vggq.encode import pack

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]

STATE: Final[State] = {
    "a.weight": np.linspace(-1, 1, 1050, dtype=np.float32).reshape(30, 35),
    "a.bias": np.arange(3, dtype=np.float16),
    "steps": np.array(7),
    "mask": np.array([True, False]),
}
SMALL: Final[State] = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "steps": np.array(7)}

# A state dict {"w": tensor of two floats in storage "0"}, as torch pickles one.
TORCH_PICKLE: Final = (
    b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n"
    b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQ"
    b"K\x00(K\x02t(K\x01t\x89NtRs."
)
_LEGACY_HEAD: Final = (
    pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    + pickle.dumps(1001, 2)
    + pickle.dumps({"protocol_version": 1001, "little_endian": True}, 2)
)


def packed(bits: int = 2) -> bytes:
    """A packed file of every codec."""
    with tempfile.TemporaryDirectory() as folder:
        source = save_npz(Path(folder, "s.npz"), STATE)
        return pack(source, Path(folder, "s.vggq"), bits=bits).target.read_bytes()


def manifest_of(data: bytes) -> bytes:
    """The manifest of a packed file, without its digest."""
    header = read_header(lambda offset, size: data[offset : offset + size], len(data))
    return header.metadata["vggq"][64:].encode()


def frames_of(data: bytes) -> list[bytes]:
    """The entries of a packed file, in order."""
    header = read_header(lambda offset, size: data[offset : offset + size], len(data))
    entries = [header.entries[str(number)] for number in range(len(header.entries))]
    return [data[entry.start : entry.start + entry.size] for entry in entries]


def torch_zip(pickled: bytes) -> bytes:
    """A torch checkpoint of this pickle and one storage of eight bytes."""
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
            archive.writestr("archive/data/0", bytes(8))
        file.seek(0)
        return file.read()


def make(folder: Path) -> None:
    """Write a folder of seeds for each target of the harness."""
    for target, seeds in _seeds().items():
        (folder / target).mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds):
            (folder / target / str(number)).write_bytes(seed)


def _seeds() -> dict[str, list[bytes]]:
    sound = [packed(bits) for bits in (1, 2, 3, 8)]
    index = {"weight_map": {"w": "s.safetensors", "steps": "s.safetensors"}}
    storage = (2).to_bytes(8, "little") + bytes(8)
    return {
        "reader": sound,
        "manifest": [manifest_of(data) for data in sound],
        "frame": [frame for data in sound for frame in frames_of(data)],
        "keras-hdf5": [_hdf5(SMALL), _hdf5({"dense/kernel:0": np.ones((2, 3), "f4")})],
        "safetensors": [safetensors.numpy.save(STATE), safetensors.numpy.save(SMALL)],
        "sharded": [json.dumps(index).encode()],
        "torch": [torch_zip(TORCH_PICKLE)],
        "torch-pickle": [TORCH_PICKLE, pickle.dumps({"epoch": 3, "model": {"lr": 0.1}}, 2)],
        "torch-legacy": [_LEGACY_HEAD + TORCH_PICKLE + pickle.dumps(["0"], 2) + storage],
        "npz": [_written(lambda path: save_npz(path, SMALL), ".npz")],
        "npy": [_written(partial(_save_npy, array), ".npy") for array in STATE.values()],
        "onnx": [_written(lambda path: save_onnx(path, SMALL), ".onnx")],
    }


def _written(write: Callable[[Path], object], suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"s{suffix}")
        write(path)
        return path.read_bytes()


def _save_npy(array: NDArray[Any], path: Path) -> None:
    np.save(path, array)


def _hdf5(state: State) -> bytes:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            group = file.create_group("layer")
            file.attrs["layer_names"] = [b"layer"]
            group.attrs["weight_names"] = [name.encode() for name in state]
            for name, array in state.items():
                group[name] = array

    return _written(write, ".h5")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
