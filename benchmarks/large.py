"""Packing large checkpoints: peak memory for every format, and time as they grow.

    hatch run full:bench-large [--weights 500] [--curve 20,50,100,200,500] [--folder DIR]

Checkpoints of transformer layers in float32, tensors of at most 64 MB, are made in a temporary
folder. Each is packed in a process of its own, which watches its own anonymous memory (RssAnon:
mapped files are not counted). Then safetensors checkpoints of growing size are packed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import safetensors.numpy

from vggq.encode import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

SIDE = 4000
LAYER = SIDE * SIDE
MILLION = 1_000_000
# A wheel may have 1 GiB at the very most.
LARGEST_WHEEL = 1 << 30
SECONDS_BETWEEN_LOOKS = 0.005


def main() -> int:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=int, default=500, help="millions, for each format")
    parser.add_argument("--curve", default="20,50,100,200,500", help="millions, for the times")
    parser.add_argument("--folder", type=Path, help="where there is room for two checkpoints")
    parser.add_argument("--pack", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.pack:
        return pack_once(arguments.pack)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        print_formats(Path(folder), arguments.weights)
        print_curve(Path(folder), [int(size) for size in arguments.curve.split(",")])
    return 0


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


FORMATS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "safetensors": ("model.safetensors", save_safetensors),
    "sharded": ("model.safetensors.index.json", save_sharded),
    "torch": ("model.pth", save_torch),
    "torch-legacy": ("model.pt", save_torch_legacy),
    "npz": ("model.npz", save_npz),
    "keras-hdf5": ("model.h5", save_hdf5),
}


def print_formats(folder: Path, millions: int) -> None:
    """Peak memory of packing a checkpoint of so many weights, for every format."""
    print(
        f"{millions} M weights, {millions * MILLION * 4 / 1e9:.1f} GB    peak RssAnon     seconds"
    )
    for name, (file, save) in FORMATS.items():
        figures = packed(folder, file, save, millions)
        print(f"{name:27s} {figures['peak'] / 1e6:9.0f} MB {figures['seconds']:11.1f}", flush=True)


def print_curve(folder: Path, sizes: list[int]) -> None:
    """Packing time against size, and what follows for the largest wheel."""
    print("\nM weights    seconds    s per M    peak RssAnon    bytes per weight")
    for millions in sizes:
        figures = packed(folder, "model.safetensors.index.json", save_sharded, millions)
        seconds, size = figures["seconds"], figures["size"] / millions / MILLION
        print(
            f"{millions:9d} {seconds:10.1f} {seconds / millions:10.4f} "
            f"{figures['peak'] / 1e6:12.0f} MB {size:19.3f}",
            flush=True,
        )
    largest = LARGEST_WHEEL / size / MILLION
    print(
        f"\nthe largest wheel, 1 GiB, has {largest:.0f} M weights: "
        f"{largest * seconds / millions / 60:.1f} min at the last row's pace"
    )


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
