"""``vggq pack SOURCE TARGET``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..encode import describe, pack
from ..encode.options import LAYOUTS, MAX_BITS
from ..errors import OptionError
from .console import add_json_flag, json_decibels, print_json, print_line, print_remark, progress

if TYPE_CHECKING:
    import argparse

    from .console import Commands


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("pack", help="quantize and compress a checkpoint")
    parser.add_argument(
        "source", metavar="SOURCE", help="a checkpoint: .pth, .safetensors, .h5, .npz, …"
    )
    parser.add_argument("target", metavar="TARGET", help="the .vggq file to write or replace")
    parser.add_argument(
        "--bits",
        type=int,
        default=8,
        metavar="N",
        help=f"1 to {MAX_BITS} bits a weight (default 8)",
    )
    parser.add_argument(
        "--layout", choices=LAYOUTS, help="names and axes of a Keras source as torch wants them"
    )
    parser.add_argument("--key", metavar="NAME", help="the state dict's key in a torch checkpoint")
    parser.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="PATTERN",
        help="names of tensors to leave out",
    )
    parser.add_argument(
        "--rename",
        action="append",
        default=[],
        metavar="REGEX=TEXT",
        help="replace in every name, such as '^module\\.='; may be given several times",
    )
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="PATTERN",
        help="names of tensors to store exactly, such as '*.bias'; may be given several times",
    )
    parser.add_argument(
        "--license", metavar="SPDX", help="the model's licence, recorded in the file"
    )
    parser.add_argument("--description", metavar="TEXT", help="what the model is, likewise")
    parser.add_argument("--url", help="where the model comes from, likewise")
    add_json_flag(parser)
    parser.set_defaults(run=_run)


def _pair(text: str) -> tuple[str, str]:
    pattern, equals, replacement = text.partition("=")
    if not equals:
        raise OptionError([("rename", f"expected REGEX=TEXT, found {text!r}")])
    return pattern, replacement


def _run(arguments: argparse.Namespace) -> None:
    with progress("packing") as advance:
        packed = pack(
            arguments.source,
            arguments.target,
            bits=arguments.bits,
            layout=arguments.layout,
            key=arguments.key,
            drop=arguments.drop,
            rename=[_pair(text) for text in arguments.rename],
            keep=arguments.keep,
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
