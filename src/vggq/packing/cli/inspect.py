"""``vggq inspect FILE``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import _weights
from ..._codecs import codec_to_table
from .. import describe
from ..options import PROVENANCE
from ..sizes import megabytes
from ..summary import asked, codec_label, printable
from .console import (
    add_json_flag,
    cell,
    decibels,
    dimensions,
    json_decibels,
    make_table,
    print_json,
    print_line,
    print_table,
)

if TYPE_CHECKING:
    import argparse

    from rich.table import Table

    from ..._weights import Weights
    from .console import Commands


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("inspect", help="show what a packed file holds")
    parser.add_argument("file", metavar="FILE", help="a .vggq file")
    add_json_flag(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    with _weights.open(arguments.file) as weights:
        if arguments.json:
            print_json(_as_json(weights))
            return
        manifest = weights.manifest
        print_line(f"{arguments.file}: {describe(manifest, weights.size)}")
        told = asked(manifest.options)
        # repr, so that a stranger's text does nothing to a terminal.
        own = [f"{key} = {value!r}" for key, value in told.items() if key not in PROVENANCE]
        source = f"{printable(manifest.source_format)}, sha256 {manifest.source_sha256}"
        print_line(f"from {source}; {', '.join(own)}")
        for key in PROVENANCE:
            if key in told:
                print_line(f"{key} = {told[key]!r}")
        print_table(_as_table(weights))


def _as_table(weights: Weights) -> Table:
    table = make_table(("tensor", "shape", "dtype", "codec"), ("stored", "bits", "SQNR dB"))
    for name, tensor in weights.tensors.items():
        stored = weights.stored_size(name)
        table.add_row(
            cell(name),
            dimensions(tensor.shape),
            tensor.source_dtype,
            codec_label(tensor.codec),
            megabytes(stored),
            f"{8 * stored / tensor.count:.2f}" if tensor.count else "",
            decibels(tensor.sqnr),
        )
    return table


def _as_json(weights: Weights) -> dict[str, Any]:
    manifest = weights.manifest
    return {
        "bytes": weights.size,
        "float32_bytes": manifest.float32_size,
        "sqnr": json_decibels(manifest.sqnr),
        "encoder": manifest.encoder,
        "zstd": manifest.zstd,
        "source": {"format": manifest.source_format, "sha256": manifest.source_sha256},
        "options": manifest.options,
        "tensors": [
            {
                "name": name,
                "shape": list(tensor.shape),
                "source_dtype": tensor.source_dtype,
                "codec": codec_to_table(tensor.codec),
                "bytes": weights.stored_size(name),
                "sqnr": json_decibels(tensor.sqnr),
            }
            for name, tensor in weights.tensors.items()
        ],
    }
