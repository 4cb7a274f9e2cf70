"""Measure time, memory, size and fidelity of packing VGG19.

    hatch run bench-pack [VGG19.h5]

The time is compared with exact k-means by kmeans1d, k = 256, layer by layer on one core. That
would take a quarter of an hour, so one layer of 147,456 weights is measured and the time for all
layers is extrapolated: it grows linearly with the number of weights. Packing runs in a process of
its own, so that nothing else adds to its peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import kmeans1d
import numpy as np

from vggq.packing import pack
from vggq.packing.sources import ReadOptions, open_source

WEIGHTS = Path(__file__).resolve().parents[1] / "sample_project" / "weights" / "vgg19.h5"
MEASURED_LAYER = "block2_conv2.weight"

# SQNR in dB of each kernel with exact k-means (kmeans1d), k = 256.
EXACT_SQNRS = (
    47.827, 43.352, 41.484, 41.733, 40.970, 40.886, 41.212, 41.087,
    40.457, 40.522, 40.835, 40.751, 40.945, 41.390, 41.788, 41.831,
)  # fmt: skip


def main() -> int:
    """Pack in a new process, and print the table."""
    arguments = _parser().parse_args()
    if arguments.target:
        print(json.dumps(measure_vgg19(arguments.source, arguments.target)))
        return 0
    if not arguments.source.exists():
        print(f"{arguments.source}: no such file; run `python sample_project/fetch_weights.py`")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "vgg19.vggq")
        done = subprocess.run(
            [sys.executable, __file__, str(arguments.source), "--target", str(target)],
            check=True,
            stdout=subprocess.PIPE,
        )
    print_pack_figures(json.loads(done.stdout), estimate_exact_seconds(arguments.source))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", type=Path, default=WEIGHTS, metavar="VGG19.h5")
    parser.add_argument("--target", type=Path, help=argparse.SUPPRESS)
    return parser


def measure_vgg19(source: Path, target: Path) -> dict[str, Any]:
    """Pack VGG19 in this process, and return the figures."""
    packed = pack(source, target, layout="torch")
    return {
        "seconds": packed.seconds,
        "bytes": packed.size,
        "sqnr": packed.manifest.sqnr,
        "sqnrs": [t.sqnr for t in packed.manifest.tensors if t.quantized],
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def estimate_exact_seconds(source: Path) -> float:
    """Return the CPU seconds of exact k-means for all kernels, extrapolated from one kernel."""
    with open_source(source, ReadOptions("torch")) as opened:
        kernels = {t.name: t for t in opened.tensors if len(t.shape) > 1}
        layer = kernels[MEASURED_LAYER].read().astype(np.float32).reshape(-1)
        begin = time.process_time()
        kmeans1d.cluster(layer, 256)
        seconds = time.process_time() - begin
        return seconds / layer.size * sum(kernel.count for kernel in kernels.values())


def print_pack_figures(figures: dict[str, Any], exact_seconds: float) -> None:
    """Print one figure per line."""
    seconds = figures["seconds"]
    differences = [own - best for own, best in zip(figures["sqnrs"], EXACT_SQNRS, strict=True)]
    print(f"packing                                {seconds:10.1f} s")
    print(f"exact k-means, extrapolated            {exact_seconds:10.0f} s")
    print(f"ratio                                  {exact_seconds / seconds:10.0f}")
    print(f"peak memory                            {figures['peak_bytes'] / 1e6:10.0f} MB")
    print(f"packed file                            {figures['bytes'] / 1e6:10.2f} MB")
    print(f"overall SQNR                           {figures['sqnr']:10.2f} dB")
    print(f"largest loss of a kernel against exact {min(differences):10.4f} dB")


if __name__ == "__main__":
    sys.exit(main())
