"""Compare codebooks with and without scales: bytes, SQNR, and the error of the network's outputs.

    hatch run fidelity:scales [--networks vgg19,nudenet,…] [--folder DIR] [--out FILE]

The error of the outputs is the mean over the outputs of squared error / energy, as SQNR in dB. The
table is written to `docs/scales.md`. With `--folder`, wheels, trained networks and results are kept
in that folder, and the next run measures only what is missing.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from network_inputs import ROOT
from safetensors.numpy import save_file
from scales_networks import NETWORKS, Network, fetch_wheels, load_network

import vggq
from vggq.packing import pack

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTHS: Final = (8, 6, 4)
_MIN_QUANTIZED_WEIGHTS: Final = 1000
_HEAD: Final = """\
# Scales, measured

This page shows what the option [`scale`](hook.md#scales) does to codebooks. It is written by
`hatch run fidelity:scales` ([`benchmarks/scales.py`](../benchmarks/scales.py)); do not edit it.

- **Output**: the error of the network's outputs, in dB: the mean over all outputs of
  error / energy. More is better. These are the feature maps that style transfer uses, logits before
  a softmax, or what the network returns, for a few inputs.
- **SQNR**: that of all quantized weights together, in dB.
- **Bytes**: the size of the packed file. One bit per weight is worth about 6 dB, so one percent of
  the bytes is worth about 0.5 dB at 8 bits, and 0.25 dB at 4 bits.

A single output error depends on chance, because the errors of different layers add up or cancel.
Differences of 1 or 2 dB mean nothing on a small network.

| network | bits | scale | bytes | SQNR | output |
|---|---:|---|---:|---:|---:|
"""


def main() -> int:
    """Measure the networks, and write the table."""
    arguments = _parser().parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        fetch_wheels(folder)
        rows = [row for name in arguments.networks.split(",") for row in measure(name, folder)]
    arguments.out.write_text(_HEAD + "".join(map(format_row, rows)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(NETWORKS), help="comma-separated list")
    parser.add_argument("--folder", type=Path, help="folder that keeps wheels and results")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "scales.md", help="the page")
    return parser


def measure(name: str, folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a network, from the results in the folder if they are there."""
    results = folder / f"{name}.json"
    if not results.exists():
        results.write_text(json.dumps(list(_measure_all(load_network(name, folder), folder))))
    rows: list[dict[str, Any]] = json.loads(results.read_text())
    return rows


def _measure_all(network: Network, folder: Path) -> Iterator[dict[str, Any]]:
    source, target = folder / "source.safetensors", folder / "target.vggq"
    save_file({name: np.ascontiguousarray(array) for name, array in network.state.items()}, source)
    expected = network.outputs(network.state)
    for bits in WIDTHS:
        for scale in choose_scales(network):
            packed = pack(source, target, bits=bits, scale=scale)
            found = network.outputs(vggq.load(target))
            row = {"network": network.name, "bits": bits, "scale": scale, "bytes": packed.size}
            yield row | {"sqnr": packed.manifest.sqnr, "output": compute_error(expected, found)}
            print(network.name, bits, scale, file=sys.stderr, flush=True)


def choose_scales(network: Network) -> list[str]:
    """Return the values of `scale` that differ for this network."""
    large = [array for array in network.state.values() if array.size >= _MIN_QUANTIZED_WEIGHTS]
    dimensions = {array.ndim for array in large if array.ndim >= 2}
    convolutions = ["channels"] if max(dimensions) > 2 else []
    return ["none", *convolutions, *(["rows"] if 2 in dimensions else []), "columns"]


def compute_error(expected: list[Any], found: list[Any]) -> float:
    """Return the mean over the outputs of squared error / energy, as SQNR in dB."""
    ratios = [
        np.square(other.astype(np.float64) - one).sum() / np.square(one.astype(np.float64)).sum()
        for one, other in zip(expected, found, strict=True)
    ]
    return -10 * math.log10(sum(map(float, ratios)) / len(ratios))


def format_row(row: dict[str, Any]) -> str:
    """Return a row of the table."""
    return (
        f"| {row['network']} | {row['bits']} | {row['scale']} | {row['bytes']:,} | "
        f"{row['sqnr']:.2f} | {row['output']:.2f} |\n"
    )


if __name__ == "__main__":
    sys.exit(main())
