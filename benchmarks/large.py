"""Packing large checkpoints: peak memory for every format, and time as they grow.

    hatch run full:bench-large [--weights 500] [--formats NAME,...] [--curve 20,50,100,200,500]
        [--folder DIR]

Checkpoints of transformer layers in float32, tensors of at most 64 MB, are made in a temporary
folder. Each is packed in a process of its own, which watches its own anonymous memory (RssAnon:
mapped files are not counted). Then safetensors checkpoints of growing size are packed. An empty
list leaves its part out.

Every format is there that can hold 2 GB in such tensors: an .npy file has only one tensor, and a
protobuf, an ONNX model with its data inside, ends at 2 GB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import onnx
import safetensors.numpy

from vggq.packing import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

SIDE = 4000
LAYER = SIDE * SIDE
MILLION = 1_000_000
# A wheel may have 1 GiB at the very most.
LARGEST_WHEEL = 1 << 30
MOST_MEMORY = 700_000_000
SECONDS_BETWEEN_LOOKS = 0.005


def main() -> int:
    """Print the two tables; fail if a peak is too high."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=int, default=500, help="millions, for each format")
    parser.add_argument("--formats", default=",".join(FORMATS), help="those to pack")
    parser.add_argument("--curve", default="20,50,100,200,500", help="millions, for the times")
    parser.add_argument("--folder", type=Path, help="where there is room for two checkpoints")
    parser.add_argument("--pack", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.pack:
        return pack_once(arguments.pack)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        peaks = print_formats(Path(folder), listed(arguments.formats), arguments.weights)
        peaks += print_curve(Path(folder), [int(size) for size in listed(arguments.curve)])
    return int(max(peaks, default=0) > MOST_MEMORY)


def listed(text: str) -> list[str]:
    """What stands between commas."""
    return [part for part in text.split(",") if part]


def tensors(millions: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Names and weights of so many layers, each with a scale of its own."""
    rng = np.random.default_rng(0)
    left = millions * MILLION
    number = 0
    while left > 0:
        rows = min(SIDE, -(-left // SIDE))
        values = rng.standard_normal((rows, SIDE), np.float32) * np.float32(
            0.01 + 0.01 * (number % 7)
        )
        yield f"layers.{number}.weight", values
        number, left = number + 1, left - values.size


def save_safetensors(path: Path, millions: int) -> None:
    """One file; the library wants all of it at once."""
    safetensors.numpy.save_file(dict(tensors(millions)), path)


def save_sharded(path: Path, millions: int) -> None:
    """An index, and a file for each layer."""
    weight_map = {}
    for name, values in tensors(millions):
        weight_map[name] = f"{name}.safetensors"
        safetensors.numpy.save_file({name: values}, path.with_name(weight_map[name]))
    path.write_text(json.dumps({"weight_map": weight_map}))


def save_torch(path: Path, millions: int) -> None:
    """Torch's zip format."""
    import torch  # noqa: PLC0415 - the process that packs is to have none of it

    torch.save({name: torch.from_numpy(values) for name, values in tensors(millions)}, path)


def save_torch_legacy(path: Path, millions: int) -> None:
    """Torch's format before 1.6."""
    import torch  # noqa: PLC0415

    state = {name: torch.from_numpy(values) for name, values in tensors(millions)}
    torch.save(state, path, _use_new_zipfile_serialization=False)


def save_npz(path: Path, millions: int) -> None:
    """Numpy's archive."""
    state: dict[str, Any] = dict(tensors(millions))
    np.savez(path, **state)


def save_hdf5(path: Path, millions: int) -> None:
    """HDF5, as Keras uses it."""
    with h5py.File(path, "w") as file:
        for name, values in tensors(millions):
            file[name] = values


def save_keras(path: Path, millions: int) -> None:
    """Keras's archive: HDF5 and the model's description, in a zip."""
    weights = path.with_name("model.weights.h5")
    with h5py.File(weights, "w") as file:
        for number, (_, values) in enumerate(tensors(millions)):
            file[f"layers/dense_{number}/vars/0"] = values
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", "{}")
        archive.write(weights, weights.name)
    weights.unlink()


def save_onnx(path: Path, millions: int) -> None:
    """A model that has its data in a file beside it."""
    initializers = []
    with path.with_name("model.data").open("wb") as data:
        for name, values in tensors(millions):
            tensor = onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT)
            tensor.dims.extend(values.shape)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            place = {"location": "model.data", "offset": data.tell(), "length": values.nbytes}
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
            initializers.append(tensor)
            data.write(values.data)
    graph = onnx.helper.make_graph([], "g", [], [], initializers)
    onnx.save(onnx.helper.make_model(graph), path)


FORMATS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "safetensors": ("model.safetensors", save_safetensors),
    "sharded": ("model.safetensors.index.json", save_sharded),
    "torch": ("model.pth", save_torch),
    "torch-legacy": ("model.pt", save_torch_legacy),
    "npz": ("model.npz", save_npz),
    "keras-hdf5": ("model.h5", save_hdf5),
    "keras": ("model.keras", save_keras),
    "onnx": ("model.onnx", save_onnx),
}


def print_formats(folder: Path, names: list[str], millions: int) -> list[int]:
    """Peak memory of packing a checkpoint of so many weights, in these formats."""
    if names:
        size = millions * MILLION * 4 / 1e9
        print(f"{millions} M weights, {size:.1f} GB    peak RssAnon     seconds")
    peaks = []
    for name in names:
        figures = packed(folder, *FORMATS[name], millions)
        print(f"{name:27s} {figures['peak'] / 1e6:9.0f} MB {figures['seconds']:11.1f}", flush=True)
        peaks.append(figures["peak"])
    return peaks


def print_curve(folder: Path, sizes: list[int]) -> list[int]:
    """Packing time against size, and what follows for the largest wheel; gives the peaks."""
    if not sizes:
        return []
    print("\nM weights    seconds    s per M    peak RssAnon    bytes per weight")
    peaks = []
    for millions in sizes:
        figures = packed(folder, *FORMATS["sharded"], millions)
        seconds, size = figures["seconds"], figures["size"] / millions / MILLION
        print(
            f"{millions:9d} {seconds:10.1f} {seconds / millions:10.4f} "
            f"{figures['peak'] / 1e6:12.0f} MB {size:19.3f}",
            flush=True,
        )
        peaks.append(figures["peak"])
    largest = LARGEST_WHEEL / size / MILLION
    print(
        f"\nthe largest wheel, 1 GiB, has {largest:.0f} M weights: "
        f"{largest * seconds / millions / 60:.1f} min at the last row's pace"
    )
    return peaks


def packed(
    folder: Path, name: str, save: Callable[[Path, int], None], millions: int
) -> dict[str, Any]:
    """Make a checkpoint, pack it in a fresh process, and remove all of it."""
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        path = Path(inner) / name
        save(path, millions)
        run = subprocess.run(
            [sys.executable, __file__, "--pack", str(path)], check=True, stdout=subprocess.PIPE
        )
        figures: dict[str, Any] = json.loads(run.stdout)
        return figures


def pack_once(source: Path) -> int:
    """Pack, and print the figures as JSON."""
    done = threading.Event()
    peaks: list[int] = []
    watch = threading.Thread(target=lambda: peaks.append(watch_memory(done)))
    watch.start()
    packed = pack(source, source.with_name("model.vggq"))
    done.set()
    watch.join()
    print(json.dumps({"seconds": packed.seconds, "size": packed.size, "peak": peaks[0]}))
    return 0


def watch_memory(done: threading.Event) -> int:
    """The most anonymous memory of this process until it is told that all is done, in bytes."""
    peak = 0
    while not done.wait(SECONDS_BETWEEN_LOOKS):
        lines = Path("/proc/self/status").read_text().splitlines()
        line = next(line for line in lines if line.startswith("RssAnon:"))
        peak = max(peak, int(line.split()[1]) * 1024)
    return peak


if __name__ == "__main__":
    sys.exit(main())
