"""Packing VGG19: time against the seed's recipe, memory, size and fidelity.

    hatch run bench-pack [VGG19.h5]

The seed's recipe is exact kmeans1d, k = 256, one layer after the other on one core. It would
take a quarter of an hour, so a layer of 147,456 weights is measured and the rest follows from
its linear growth. Packing runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

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

# Exact kmeans1d at k = 256, kernel by kernel, in dB.
EXACT = (
    47.827, 43.352, 41.484, 41.733, 40.970, 40.886, 41.212, 41.087,
    40.457, 40.522, 40.835, 40.751, 40.945, 41.390, 41.788, 41.831,
)  # fmt: skip


def main() -> int:
    """Print the table."""
    if sys.argv[1:2] == ["--pack"]:
        return pack_once(*sys.argv[2:])
    source = Path(sys.argv[1]) if sys.argv[1:] else WEIGHTS
    if not source.exists():
        print(f"{source} is not there: python sample_project/fetch_weights.py")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [sys.executable, __file__, "--pack", str(source), f"{folder}/vgg19.vggq"],
            check=True,
            stdout=subprocess.PIPE,
        )
    print_table(json.loads(run.stdout), seed_seconds(source))
    return 0


def pack_once(source: str, target: str) -> int:
    """Pack and print the figures as JSON."""
    packed = pack(source, target, layout="torch")
    figures = {
        "seconds": packed.seconds,
        "bytes": packed.size,
        "sqnr": packed.manifest.sqnr,
        "kernels": [t.sqnr for t in packed.manifest.tensors if t.quantized],
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(figures))
    return 0


def seed_seconds(source: Path) -> float:
    """CPU seconds that exact kmeans1d would take for all kernels, from one that is measured."""
    with open_source(source, ReadOptions("torch")) as opened:
        kernels = {t.name: t for t in opened.tensors if len(t.shape) > 1}
        layer = kernels[MEASURED_LAYER].read().astype(np.float32).reshape(-1)
        begin = time.process_time()
        kmeans1d.cluster(layer, 256)
        seconds = time.process_time() - begin
        return seconds / layer.size * sum(kernel.count for kernel in kernels.values())


def print_table(packed: dict[str, Any], seed: float) -> None:
    """The figures, one a line."""
    worst = min(now - exact for now, exact in zip(packed["kernels"], EXACT, strict=True))
    print(f"packing                     {packed['seconds']:10.1f} s")
    print(f"seed's recipe, extrapolated {seed:10.0f} s")
    print(f"ratio                       {seed / packed['seconds']:10.0f}")
    print(f"peak memory                 {packed['peak_bytes'] / 1e6:10.0f} MB")
    print(f"packed file                 {packed['bytes'] / 1e6:10.2f} MB")
    print(f"overall SQNR                {packed['sqnr']:10.2f} dB")
    print(f"worst kernel against exact  {worst:10.4f} dB")


if __name__ == "__main__":
    sys.exit(main())
