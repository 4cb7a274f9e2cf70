"""Measure peak memory and time of packing large checkpoints.

    hatch run full:bench-large [--weights 500] [--formats NAME,...] [--curve 20,50,100,200,500]
        [--folder DIR]

The first table has the peak memory for each checkpoint format, the second the time for growing
safetensors checkpoints. An empty list skips a table. The exit code is 1 if a peak is too high.

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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from large_checkpoints import FORMAT_WRITERS, MILLION

from vggq.packing import pack

if TYPE_CHECKING:
    from collections.abc import Callable

# The largest file that PyPI allows on request.
MAX_WHEEL_SIZE = 1 << 30
MAX_PEAK_MEMORY = 700_000_000
SAMPLING_INTERVAL = 0.005  # seconds


def main() -> int:
    """Print the two tables; return 1 if a peak is too high."""
    arguments = _parser().parse_args()
    if arguments.pack:
        print(json.dumps(measure_pack(arguments.pack)))
        return 0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        peaks = print_formats(folder, split_list(arguments.formats), arguments.weights)
        peaks += print_curve(folder, [int(size) for size in split_list(arguments.curve)])
    return int(max(peaks, default=0) > MAX_PEAK_MEMORY)


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
    parser.add_argument("--folder", type=Path, help="folder with space for two checkpoints")
    parser.add_argument("--pack", type=Path, help=argparse.SUPPRESS)
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
        done = subprocess.run(
            [sys.executable, __file__, "--pack", str(path)], check=True, stdout=subprocess.PIPE
        )
        figures: dict[str, Any] = json.loads(done.stdout)
        return figures


def measure_pack(source: Path) -> dict[str, float]:
    """Pack a checkpoint and return the seconds, the size and the peak of memory in bytes."""
    done = threading.Event()
    peaks: list[int] = []
    sampler = threading.Thread(target=lambda: peaks.append(sample_memory(done)))
    sampler.start()
    packed = pack(source, source.with_name("model.vggq"))
    done.set()
    sampler.join()
    return {"seconds": packed.seconds, "size": packed.size, "peak": peaks[0]}


def sample_memory(done: threading.Event) -> int:
    """Sample this process's anonymous memory until `done` is set; return the maximum in bytes."""
    peak = 0
    while not done.wait(SAMPLING_INTERVAL):
        lines = Path("/proc/self/status").read_text().splitlines()
        line = next(line for line in lines if line.startswith("RssAnon:"))
        peak = max(peak, int(line.split()[1]) * 1024)
    return peak


if __name__ == "__main__":
    sys.exit(main())
