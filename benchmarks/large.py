"""Measure peak memory and time of packing large checkpoints.

    hatch run full:bench-large [--weights 500] [--formats NAME,...] [--curve 20,50,100,200,500]
        [--model 375] [--folder DIR]

The first table has the peak memory for each checkpoint format, the second the time for growing
safetensors checkpoints. An empty list skips a table. The third is about an ONNX model with external
data and one matrix of 200 MB, which is packed and restored with `as_file`; 0 weights skip it. The
exit code is 1 if a peak is too high.

The checkpoints are created in a temporary folder. They contain float32 matrices of at most 64 MB.
Each is packed in a process of its own, which samples its anonymous memory (RssAnon, which excludes
mapped files).

Two formats are missing because they cannot store such a checkpoint of 2 GB: an .npy file has a
single tensor, and an ONNX file without external data is limited to 2 GB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from large_checkpoints import FORMAT_WRITERS, MILLION, SIDE, write_onnx

import vggq
from vggq.packing import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The largest file that PyPI allows on request.
MAX_WHEEL_SIZE = 1 << 30
MAX_PEAK_MEMORY = 700_000_000
# The largest tensor of the model, and what `as_file` may take besides it and the packed file.
LARGE_TENSOR = 200_000_000
MAX_RESTORING_MEMORY = 64_000_000
SAMPLING_INTERVAL = 0.005  # seconds


def main() -> int:
    """Print the tables; return 1 if a peak is too high."""
    arguments = _parser().parse_args()
    if arguments.pack or arguments.restore:
        source, packed = arguments.pack, arguments.restore
        print(json.dumps(measure_pack(source) if source else measure_restoring(packed)))
        return 0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        peaks = print_formats(folder, split_list(arguments.formats), arguments.weights)
        peaks += print_curve(folder, [int(size) for size in split_list(arguments.curve)])
        model_fits = print_model(folder, arguments.model)
    return int(max(peaks, default=0) > MAX_PEAK_MEMORY or not model_fits)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--weights", type=int, default=500, help="millions of weights in the table of formats"
    )
    parser.add_argument(
        "--formats", default=",".join(FORMAT_WRITERS), help="comma-separated list of formats"
    )
    parser.add_argument(
        "--curve",
        default="20,50,100,200,500",
        help="comma-separated list of millions of weights in the table of times",
    )
    parser.add_argument(
        "--model",
        type=int,
        default=375,
        help="millions of weights of the model with a large matrix",
    )
    parser.add_argument("--folder", type=Path, help="folder with space for two checkpoints")
    parser.add_argument("--pack", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--restore", type=Path, help=argparse.SUPPRESS)
    return parser


def split_list(text: str) -> list[str]:
    """Return the items of a comma-separated list."""
    return [part for part in text.split(",") if part]


def print_formats(folder: Path, names: list[str], millions: int) -> list[int]:
    """Print the table of formats, and return the peaks of memory in bytes.

    Args:
        folder: a folder for the checkpoints.
        names: the formats.
        millions: the number of weights of each checkpoint, in millions.

    """
    if names:
        size = millions * MILLION * 4 / 1e9
        print(f"{millions} M weights, {size:.1f} GB    peak RssAnon     seconds")
    peaks = []
    for name in names:
        figures = measure_format(folder, *FORMAT_WRITERS[name], millions)
        print(f"{name:27s} {figures['peak'] / 1e6:9.0f} MB {figures['seconds']:11.1f}", flush=True)
        peaks.append(figures["peak"])
    return peaks


def print_curve(folder: Path, sizes: list[int]) -> list[int]:
    """Print the table of times and an estimate for the largest wheel; return the peaks in bytes.

    Args:
        folder: a folder for the checkpoints.
        sizes: the numbers of weights, in millions.

    """
    if not sizes:
        return []
    print("\nM weights    seconds    s per M    peak RssAnon    bytes per weight")
    peaks = []
    for millions in sizes:
        figures = measure_format(folder, *FORMAT_WRITERS["sharded"], millions)
        seconds, size = figures["seconds"], figures["size"] / millions / MILLION
        print(
            f"{millions:9d} {seconds:10.1f} {seconds / millions:10.4f} "
            f"{figures['peak'] / 1e6:12.0f} MB {size:19.3f}",
            flush=True,
        )
        peaks.append(figures["peak"])
    largest = MAX_WHEEL_SIZE / size / MILLION
    print(
        f"\nA packed file of 1 GiB has {largest:.0f} M weights. Packing it would take "
        f"{largest * seconds / millions / 60:.1f} min at the speed of the last row."
    )
    return peaks


def measure_format(
    folder: Path, name: str, save: Callable[[Path, int], None], millions: int
) -> dict[str, Any]:
    """Write a checkpoint, pack it in a new process, delete the files, and return the figures."""
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        path = Path(inner) / name
        save(path, millions)
        return run_measurement("--pack", path)


def run_measurement(option: str, path: Path) -> dict[str, Any]:
    """Pack or restore a file in a new process, and return the figures."""
    done = subprocess.run(
        [sys.executable, __file__, option, str(path)], check=True, stdout=subprocess.PIPE
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def print_model(folder: Path, millions: int) -> bool:
    """Print the table of the model, and return whether the peaks of memory are low enough.

    Args:
        folder: a folder for the model.
        millions: the number of weights of the model, in millions.

    """
    if not millions:
        return True
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        path = Path(inner) / "model.onnx"
        write_onnx(path, millions, first_rows=LARGE_TENSOR // 4 // SIDE)
        packing = run_measurement("--pack", path)
        restoring = run_measurement("--restore", path.with_name("model.vggq"))
    title = (
        f"ONNX, {millions * MILLION * 4 / 1e9:.1f} GB, one matrix of {LARGE_TENSOR / 1e6:.0f} MB"
    )
    print(f"\n{title}    peak RssAnon     at most     seconds")
    limits = (
        MAX_PEAK_MEMORY + LARGE_TENSOR,
        packing["size"] + LARGE_TENSOR + MAX_RESTORING_MEMORY,
    )
    for name, figures, limit in zip(("pack", "as_file"), (packing, restoring), limits, strict=True):
        print(
            f"{name:{len(title)}s} {figures['peak'] / 1e6:12.0f} MB {limit / 1e6:8.0f} MB "
            f"{figures['seconds']:11.1f}"
        )
    fits: bool = packing["peak"] <= limits[0] and restoring["peak"] <= limits[1]
    return fits


def measure_pack(source: Path) -> dict[str, float]:
    """Pack a checkpoint and return the seconds, the size and the peak of memory in bytes."""
    with sample_memory() as peaks:
        packed = pack(source, source.with_name("model.vggq"))
    return {"seconds": packed.seconds, "size": packed.size, "peak": max(peaks)}


def measure_restoring(packed: Path) -> dict[str, float]:
    """Restore a model with `as_file`, and return the seconds and the peak of memory in bytes."""
    start = time.perf_counter()
    with sample_memory() as peaks, vggq.as_file(packed, dir=packed.parent):
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak": max(peaks)}


@contextmanager
def sample_memory() -> Iterator[list[int]]:
    """Sample this process's anonymous memory, in bytes, until the block ends."""
    done = threading.Event()
    samples = [anonymous_memory()]

    def sample() -> None:
        while not done.wait(SAMPLING_INTERVAL):
            samples.append(anonymous_memory())

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield samples
    finally:
        done.set()
        sampler.join()


def anonymous_memory() -> int:
    """Return this process's anonymous memory in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    sys.exit(main())
