"""Small valid files of every kind, the seeds of fuzzing.

::

    python -m tests.fuzz.corpus FOLDER
"""

from __future__ import annotations

import io
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
import onnx
import safetensors.numpy

import vggq
from tests.helpers import save_npz, save_onnx
from tests.packed_models import small_model
from tests.tflite_models import Data, Model, Table, network
from vggq._codecs import Codebook, Grid
from vggq._codecs._trellis import STATES
from vggq._container import read_header
from vggq._weights import underlying_file
from vggq.packing import pack

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from vggq import TensorInfo

    State = dict[str, NDArray[Any]]

STATE: Final[State] = {
    "a.weight": np.linspace(-1, 1, 1050, dtype=np.float32).reshape(30, 35),
    "a.bias": np.arange(3, dtype=np.float16),
    "steps": np.array(7),
    "mask": np.array([True, False]),
    "conv.weight": np.sin(np.arange(1296, dtype=np.float32)).reshape(12, 12, 3, 3),
}
SMALL: Final[State] = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "steps": np.array(7)}

# A state dict {"w": tensor of two floats in storage "0"}, as torch pickles it.
TORCH_PICKLE: Final = (
    b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n"
    b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQ"
    b"K\x00(K\x02t(K\x01t\x89NtRs."
)
_TORCH_TENSOR: Final = TORCH_PICKLE[len(b"\x80\x02}X\x01\x00\x00\x00w") : -len(b"s.")]
# What else the pickle of a checkpoint may have, each as the opcodes of one value.
_TORCH_VALUES: Final = (
    b"](" + _TORCH_TENSOR + b"}K\x01" + _TORCH_TENSOR + b"se",
    b"ctorch._utils\n_rebuild_device_tensor_from_cpu_tensor\n("
    + _TORCH_TENSOR + b"ctorch\nfloat16\nX\x03\x00\x00\x00cpu\x89tR",
    b"ctorch.nn.parameter\nParameter\n" + _TORCH_TENSOR + b"\x88\x86\x81",
    b"ctorch._tensor\n_rebuild_from_type_v2\n("
    + _TORCH_TENSOR.replace(b"\n((X", b"\nctorch\nTensor\n((X", 1)[:-1] + b"}tR",
    pickle.dumps(np.arange(2, dtype=np.float32), 2)[2:-1],
    pickle.dumps(np.arange(2, dtype=np.float32), 5)[2:-1],
    b"cunknown\nClass\n)\x81}X\x01\x00\x00\x00a" + _TORCH_TENSOR + b"sb",
    b"(K\x01iunknown\nClass\n",
)  # fmt: skip
_LEGACY_HEAD: Final = (
    pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    + pickle.dumps(1001, 2)
    + pickle.dumps({"protocol_version": 1001, "little_endian": True}, 2)
)


# Keras 3: a description of the layers, and numbered weights.
KERAS_CONFIG: Final = json.dumps(
    {
        "class_name": "Sequential",
        "config": {
            "layers": [
                {"class_name": "Dense", "config": {"name": "dense", "use_bias": False}},
                {"class_name": "GRU", "config": {"name": "gru", "reset_after": True}},
            ]
        },
    }
).encode()
KERAS_WEIGHTS: Final[State] = {
    "layers/dense/vars/0": np.ones((2, 3), np.float32),
    "layers/gru/cell/vars/0": np.ones((3, 6), np.float32),
    "layers/gru/cell/vars/1": np.ones((2, 6), np.float32),
    "layers/gru/cell/vars/2": np.ones((2, 6), np.float32),
}

# A packed model of several files, with each codec in each floating-point dtype.
MODEL: Final = small_model().build()

# Options of the packed files, which together have every variant of every codec.
OPTIONS: Final[tuple[dict[str, Any], ...]] = (
    *({"bits": bits} for bits in (1, 2, 3, 8)),
    *({"sqnr": 20, "scale": scale} for scale in ("rows", "columns", -1)),
    *({"bits": bits, "scale": scale} for bits, scale in ((2, "rows"), (8, "columns"), (4, -1))),
    *({"sqnr": sqnr, "dependent": dependent} for sqnr in (12, 45) for dependent in (True, False)),
)


def packed(**options: Any) -> bytes:
    """Return a packed file with exact and quantized tensors."""
    with tempfile.TemporaryDirectory() as folder:
        source = save_npz(Path(folder, "s.npz"), STATE)
        return pack(source, Path(folder, "s.vggq"), **options).target.read_bytes()


def manifest_of(data: bytes) -> bytes:
    """Return the manifest of a packed file, without its digest."""
    header = read_header(lambda offset, size: data[offset : offset + size], len(data))
    return header.metadata["vggq"][64:].encode()


def frames_of(data: bytes) -> list[bytes]:
    """Return the entries of a packed file, in order."""
    header = read_header(lambda offset, size: data[offset : offset + size], len(data))
    entries = [header.entries[str(number)] for number in range(len(header.entries))]
    return [data[entry.start : entry.start + entry.size] for entry in entries]


def contents_of(data: bytes) -> list[tuple[TensorInfo, bytes]]:
    """Return the description and the decompressed content of each tensor of a packed file."""
    with vggq.open(data) as weights:
        return [
            (tensor, bytes(underlying_file(weights).content(tensor.name)))
            for tensor in weights.tensors.values()
        ]


def npz_of(member: bytes) -> bytes:
    """Return an archive with one member and a valid checksum."""
    return _zip({"w.npy": member})


def keras_of(config: bytes, weights: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a .keras archive with valid checksums."""
    members = {"metadata.json": b"{}", "config.json": config, "model.weights.h5": weights}
    return _zip(members, method)


def hdf5(state: State) -> bytes:
    """Return a file that has only these datasets."""
    file = io.BytesIO()
    with h5py.File(file, "w") as tensors:
        for name, array in state.items():
            tensors[name] = array
    return file.getvalue()


def torch_zip(pickled: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a torch checkpoint with this pickle, and one storage of eight bytes."""
    return _zip({"archive/data.pkl": pickled, "archive/data/0": bytes(8)}, method)


def _torchscript() -> bytes:
    """Return a module with a parameter, another attribute, a module and a constant."""
    inner = b"c__torch__\nM\n)\x81}X\x01\x00\x00\x00v" + _TORCH_TENSOR + b"sb"
    values = {b"v": _TORCH_TENSOR, b"w": _TORCH_TENSOR, b"m": inner}
    state = b"".join(b"X\x01\x00\x00\x00" + name + value for name, value in values.items())
    code = b'class M(Module):\n  __parameters__ = ["v", ]\n  __buffers__ = []\n'
    members = {
        "a/data.pkl": b"\x80\x02c__torch__\nM\n)\x81}(" + state + b"ub.",
        "a/constants.pkl": b"\x80\x02(" + _TORCH_TENSOR + b"t.",
        "a/code/__torch__.py": code,
        "a/data/0": bytes(8),
        "a/constants/0": bytes(8),
    }
    return _zip(members)


class _Unseekable(io.BytesIO):
    """A file into which zipfile writes data descriptors."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError


def _with_descriptors(pickled: bytes) -> bytes:
    """Return a torch checkpoint with a checksum after each record, as torch writes it."""
    file = _Unseekable()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("archive/data.pkl"), pickled)
        archive.writestr(zipfile.ZipInfo("archive/data/0"), bytes(8))
    return file.getvalue()


def _zip(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def make(folder: Path) -> None:
    """Write a folder of seeds for each target of the harness."""
    for target, seeds in _seeds().items():
        (folder / target).mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds):
            (folder / target / str(number)).write_bytes(seed)


def _seeds() -> dict[str, list[bytes]]:
    valid = [packed(**options) for options in OPTIONS]
    contents = [pair for data in valid for pair in contents_of(data)]
    fortran = np.asfortranarray(SMALL["w"])
    odd = (fortran, fortran.astype(">f4"), np.zeros((3, 0)), np.zeros(3, "V2"))
    arrays = [_written(partial(_save_npy, array), ".npy") for array in (*STATE.values(), *odd)]
    weights = hdf5(KERAS_WEIGHTS)
    groups = [f"/{name.rpartition('/')[0]}" for name in KERAS_WEIGHTS]
    index = {"weight_map": {"w": "s.safetensors", "steps": "s.safetensors"}}
    storage = (2).to_bytes(8, "little") + bytes(8)
    return {
        "reader": valid,
        "manifest": [manifest_of(data) for data in valid],
        "model": [MODEL],
        "model-manifest": [manifest_of(MODEL)],
        "frame": [frame for data in valid for frame in frames_of(data)],
        "codebook": [
            _codebook_parameters(tensor.codec, tensor.count) + content
            for tensor, content in contents
            if isinstance(tensor.codec, Codebook)
        ],
        "grid": [
            _grid_parameters(tensor.codec, tensor.count) + content
            for tensor, content in contents
            if isinstance(tensor.codec, Grid)
        ],
        "keras-hdf5": [
            _legacy(SMALL),
            _legacy({"dense/kernel:0": np.ones((2, 3), "f4")}),
            weights,
            _linked(),
        ],
        "keras": [
            keras_of(KERAS_CONFIG, weights),
            keras_of(KERAS_CONFIG, weights, zipfile.ZIP_DEFLATED),
        ],
        "keras-sharded": [
            json.dumps({"weight_map": {group: ["s.weights.h5"] for group in groups}}).encode()
        ],
        "keras-config": [KERAS_CONFIG],
        "keras-weights": [weights],
        "safetensors": [
            safetensors.numpy.save(STATE),
            safetensors.numpy.save(SMALL, {"epoch": "3"}),
            _lenient_safetensors(),
        ],
        "sharded": [
            json.dumps(index).encode(),
            json.dumps({"weight_map": {"w": "n" * 256}}).encode(),
        ],
        "torch": [
            torch_zip(TORCH_PICKLE),
            torch_zip(TORCH_PICKLE, zipfile.ZIP_DEFLATED),
            _torchscript(),
            _with_descriptors(TORCH_PICKLE),
        ],
        "torch-pickle": [
            TORCH_PICKLE,
            pickle.dumps({"epoch": 3, "model": {"lr": 0.1}}, 2),
            *(
                TORCH_PICKLE[:-1] + b"X\x03\x00\x00\x00odd" + value + b"s."
                for value in _TORCH_VALUES
            ),
        ],
        "torch-legacy": [_LEGACY_HEAD + TORCH_PICKLE + pickle.dumps(["0"], 2) + storage],
        "npz": [
            _written(lambda path: save_npz(path, SMALL), ".npz"),
            _zip({"README": b"?", "w": arrays[0], "v2.npy": arrays[-1], "inner.npz": b"PK"}),
            _zip({"w.npy": arrays[1], "f.npy": arrays[-4]}, zipfile.ZIP_DEFLATED),
        ],
        "npz-member": arrays,
        "npy": arrays,
        "tflite": [network(width=4).build(), network(width=40).build(), _tflite_odd()],
        "onnx": [
            _written(lambda path: save_onnx(path, SMALL), ".onnx"),
            _onnx_graph(),
            _onnx_external(),
            _onnx_wire(),
        ],
    }


def _written(write: Callable[[Path], object], suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"s{suffix}")
        write(path)
        return path.read_bytes()


def _save_npy(array: NDArray[Any], path: Path) -> None:
    np.save(path, array)


def _codebook_parameters(codec: Codebook, count: int) -> bytes:
    """Return the bytes from which the harness takes the parameters of the codec."""
    scales, run = (codec.slices.scales, codec.slices.run) if codec.slices else (0, 1)
    return bytes([codec.centroids - 1, count % 256, scales, run - 1])


def _grid_parameters(codec: Grid, count: int) -> bytes:
    """Return the bytes from which the harness takes the parameters of the codec."""
    flags = codec.first + 2 * STATES.index(codec.dependent)
    vectors = (count // (codec.taps * codec.rows)).to_bytes(2, "little")
    scales, run = (codec.slices.scales, codec.slices.run) if codec.slices else (0, 1)
    return bytes([codec.taps - 1, codec.rows - 1, flags, *vectors, scales, run - 1])


def _lenient_safetensors() -> bytes:
    entry = {"dtype": "F4", "shape": [4], "data_offsets": [0, 2], "comment": [None]}
    header = json.dumps({"__metadata__": None, "w": entry}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(2)


def _tflite_odd() -> bytes:
    """Return a model with a shared buffer, metadata, a sparse tensor and an external buffer."""
    model = Model(graphs=2)
    shared = model.add_buffer(SMALL["w"].tobytes())
    for name, fields in {"w": {}, "again": {}, "sparse": {"f6": Table({})}}.items():
        model.add_tensor(name, SMALL["w"].shape, 0, shared, **fields)
    model.add_tensor("external", [2], f10=("I", 1))
    model.buffers.append(Table({1: ("Q", 8), 2: ("Q", 16)}))
    model.add_tensor("outside", [4], 0, len(model.buffers) - 1)
    model.metadata = [Table({0: Data(b"min_runtime_version", 4), 1: ("I", shared)})]
    return model.build()


def _onnx_graph() -> bytes:
    """Return a model with tensors in all places of its graph."""
    tensor = onnx.numpy_helper.from_array(SMALL["w"], "w")
    helper = onnx.helper
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    inner = helper.make_graph([constant], "g", [], [], [tensor])
    branch = helper.make_node("If", ["x"], ["y"], then_branch=inner, floats=[1.0, 2.0])
    opset = helper.make_opsetid("", 21)
    function = helper.make_function("d", "f", [], ["c"], [constant], [opset])
    graph = helper.make_graph([constant, branch], "g", [], [], [tensor])
    model: onnx.ModelProto = helper.make_model(graph, functions=[function])
    return bytes(model.SerializeToString())


def _onnx_external() -> bytes:
    """Return a model with data in a file of the harness and in the model itself."""
    tensors = [
        onnx.TensorProto(name=location, data_type=onnx.TensorProto.FLOAT, dims=[2])
        for location in ("s.safetensors", "fuzzed.onnx", "s.safetensors")
    ]
    for offset, tensor in enumerate(tensors):
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entries = {"location": tensor.name, "offset": str(8 * offset), "length": "8"}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
    indices = onnx.numpy_helper.from_array(np.arange(2), "i")
    sparse = onnx.helper.make_sparse_tensor(tensors[0], indices, [4])
    graph = onnx.helper.make_graph([], "g", [], [], tensors, sparse_initializer=[sparse])
    return bytes(onnx.helper.make_model(graph).SerializeToString())


def _onnx_wire() -> bytes:
    """Return a model as no exporter writes it: lists in all ways, merged messages, a group."""
    floats = np.ones(2, np.float32).tobytes()
    listed = b"\x22\x04" + floats[:4] + b"\x25" + floats[4:]
    numbers = b"\x3a\x02\x01\x80\x01\x38\x02" + b"\x2a\x01\x03\x28\x04"
    tensor = b"\x08\x02\x10\x01" + listed + numbers + b"\x42\x01w"
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    half = b"\x3a" + bytes([len(graph)]) + graph
    return b"\x08\x0a" + half + b"\xc3\x06\x08\x01\xc4\x06" + half + b"\x42\x02\x10\x15"


def _linked() -> bytes:
    """Return an HDF5 file with links of every kind."""

    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["a/w"] = SMALL["w"]
            file["b"] = file["a"]
            file["a/up"] = h5py.SoftLink("/")
            file["c"], file["d"] = file["a/w"], h5py.SoftLink("/gone")
            file["e"] = h5py.ExternalLink("gone.h5", "/w")
            file["f"] = SMALL["w"].astype("V2")
            file.create_dataset("g", data=SMALL["w"], chunks=(1, 2), compression="gzip")

    return _written(write, ".h5")


def _legacy(state: State) -> bytes:
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
