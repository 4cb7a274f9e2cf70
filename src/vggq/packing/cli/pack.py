"""``vggq pack SOURCE TARGET``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import describe, pack
from .console import add_json_flag, json_decibels, print_json, print_line, print_remark, progress
from .options import add_goals, add_packing_options, add_source, goals, packing_options

if TYPE_CHECKING:
    import argparse

    from .console import Commands


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("pack", help="quantize and compress a checkpoint")
    add_source(parser)
    parser.add_argument("target", metavar="TARGET", help="the .vggq file to write or replace")
    add_goals(parser)
    add_packing_options(parser)
    parser.add_argument(
        "--license", metavar="SPDX", help="the model's licence, recorded in the file"
    )
    parser.add_argument("--description", metavar="TEXT", help="what the model is, likewise")
    parser.add_argument("--url", help="where the model comes from, likewise")
    add_json_flag(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    with progress("packing") as advance:
        packed = pack(
            arguments.source,
            arguments.target,
            **goals(arguments),
            **packing_options(arguments),
            license=arguments.license,
            description=arguments.description,
            url=arguments.url,
            progress=advance,
        )
    manifest = packed.manifest
    for remark in packed.remarks:
        print_remark(f"{arguments.source}: {remark}")
    if not arguments.json:
        line = describe(manifest, packed.size)
        print_line(f"{packed.target}: {line}, {packed.seconds:.1f} s")
        return
    print_json(
        {
            "target": str(packed.target),
            "tensors": len(manifest.tensors),
            "float32_bytes": manifest.float32_size,
            "bytes": packed.size,
            "ratio": round(packed.ratio, 4),
            "sqnr": json_decibels(manifest.sqnr),
            "worst_sqnr": json_decibels(manifest.worst.sqnr) if manifest.worst else None,
            "seconds": round(packed.seconds, 3),
            "remarks": list(packed.remarks),
        }
    )
