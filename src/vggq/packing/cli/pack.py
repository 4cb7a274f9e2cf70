"""The command ``vggq pack SOURCE TARGET``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import advise_on_accuracy, describe, pack_with
from .console import (
    add_command_parser,
    add_output_flags,
    print_json,
    print_line,
    print_remark,
    show_progress,
    sqnr_as_json,
)
from .options import add_options, add_source, options_of

if TYPE_CHECKING:
    import argparse

    from .. import Packed
    from .console import Commands


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command_parser(
        commands,
        "pack",
        "quantize and compress a checkpoint",
        "vggq pack weights/model.pth src/mypackage/model.vggq --bits 6",
        "vggq pack rec.onnx rec.vggq --size '15 MB'",
    )
    add_source(parser)
    parser.add_argument("target", metavar="TARGET", help="the .vggq file to write or replace")
    add_options(parser)
    add_output_flags(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    with show_progress("packing") as advance:
        options = options_of(arguments).with_importance_read()
        packed = pack_with(arguments.source, arguments.target, options, progress=advance)
    for remark in packed.remarks:
        print_remark(f"{arguments.source}: {remark}")
    if arguments.json:
        print_json(_as_json(packed))
    else:
        if advice := advise_on_accuracy(packed.manifest):
            print_remark(advice)
        result = describe(packed.manifest, packed.size)
        print_line(f"{packed.target}: {result}, {packed.seconds:.1f} s")


def _as_json(packed: Packed) -> dict[str, Any]:
    manifest = packed.manifest
    return {
        "target": str(packed.target),
        "tensors": len(manifest.tensors),
        "float32_bytes": manifest.float32_size,
        "model_bytes": manifest.model.size if manifest.model else None,
        "bytes": packed.size,
        "ratio": round(packed.ratio, 4),
        "sqnr": sqnr_as_json(manifest.sqnr),
        "worst_sqnr": sqnr_as_json(manifest.worst.sqnr) if manifest.worst else None,
        "seconds": round(packed.seconds, 3),
        "remarks": list(packed.remarks),
    }
