"""The command ``vggq inspect FILE``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import _weights
from ..._codecs import codec_to_table
from .. import describe
from ..metrics import format_sqnr
from ..options import PROVENANCE, given_options
from ..sizes import megabytes
from ..summary import codec_label, printable
from .console import (
    add_json_flag,
    escape_cell,
    format_shape,
    make_table,
    print_json,
    print_line,
    print_table,
    sqnr_as_json,
)

if TYPE_CHECKING:
    import argparse

    from rich.table import Table

    from ..._weights import Weights
    from .console import Commands


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("inspect", help="show the content of a packed file")
    parser.add_argument("file", metavar="FILE", help="a .vggq file")
    add_json_flag(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    with _weights.open(arguments.file) as weights:
        if arguments.json:
            print_json(_as_json(weights))
            return
        print_line(f"{arguments.file}: {describe(weights.manifest, weights.size)}")
        _print_origin(weights)
        print_table(_as_table(weights))


def _print_origin(weights: Weights) -> None:
    """Print the source, the options and the provenance.

    Values are printed with repr, which escapes the control characters of untrusted text.
    """
    manifest = weights.manifest
    given = given_options(manifest.options)
    options = [f"{key} = {value!r}" for key, value in given.items() if key not in PROVENANCE]
    source = f"{printable(manifest.source_format)}, sha256 {manifest.source_sha256}"
    print_line(f"from {source}; {', '.join(options)}")
    for key in PROVENANCE:
        if key in given:
            print_line(f"{key} = {given[key]!r}")


def _as_table(weights: Weights) -> Table:
    table = make_table(("tensor", "shape", "dtype", "codec"), ("size", "bits", "SQNR dB"))
    for name, tensor in weights.tensors.items():
        size = weights.stored_size(name)
        table.add_row(
            escape_cell(name),
            format_shape(tensor.shape),
            tensor.source_dtype,
            codec_label(tensor.codec),
            megabytes(size),
            f"{8 * size / tensor.count:.2f}" if tensor.count else "",
            format_sqnr(tensor.sqnr),
        )
    return table


def _as_json(weights: Weights) -> dict[str, Any]:
    manifest = weights.manifest
    return {
        "bytes": weights.size,
        "float32_bytes": manifest.float32_size,
        "sqnr": sqnr_as_json(manifest.sqnr),
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
                "sqnr": sqnr_as_json(tensor.sqnr),
            }
            for name, tensor in weights.tensors.items()
        ],
    }
