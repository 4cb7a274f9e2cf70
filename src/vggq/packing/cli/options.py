"""The options of packing, which several commands have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import OptionError
from ..goals import AIMS, MAX_BITS
from ..options import LAYOUTS

if TYPE_CHECKING:
    import argparse


def add_source(parser: argparse.ArgumentParser) -> None:
    """Give a command its SOURCE."""
    parser.add_argument(
        "source", metavar="SOURCE", help="a checkpoint: .pth, .safetensors, .h5, .npz, …"
    )


def add_goals(parser: argparse.ArgumentParser) -> None:
    """Give a command the options that say how much may be lost."""
    parser.add_argument(
        "--bits",
        type=int,
        metavar="N",
        help=f"codebooks of 1 to {MAX_BITS} bits a weight (the default is {MAX_BITS})",
    )
    parser.add_argument(
        "--sqnr", type=float, metavar="DB", help="at least so many decibels for every tensor"
    )
    parser.add_argument("--size", metavar="SIZE", help="at most so many bytes, such as '15 MB'")
    add_grid_options(parser)


def add_grid_options(parser: argparse.ArgumentParser) -> None:
    """Give a command those that tell how a fidelity or a size is met."""
    parser.add_argument(
        "--aim",
        choices=AIMS,
        default=AIMS[0],
        help="for a size: the least error relative to each tensor's energy, or overall",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="for a size: JSON of tensors' names and how much the error of each counts, 1 if not "
        "in it",
    )
    parser.add_argument(
        "--independent",
        action="store_true",
        help="a few percent larger, and restored in four fifths of the time, for --sqnr and --size",
    )


def goals(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given of them, as keyword arguments of `pack`."""
    return {
        "bits": arguments.bits,
        "sqnr": arguments.sqnr,
        "size": arguments.size,
        "aim": arguments.aim,
        "dependent": not arguments.independent,
        "weights": arguments.weights,
    }


def add_packing_options(parser: argparse.ArgumentParser) -> None:
    """Give a command those of packing that do not say how much is lost."""
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


def packing_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given of them, as keyword arguments of `pack` and as a table of `Options`.

    Raises:
        OptionError: a replacement has no equals sign.

    """
    return {
        "layout": arguments.layout,
        "key": arguments.key,
        "drop": arguments.drop,
        "rename": [_pair(text) for text in arguments.rename],
        "keep": arguments.keep,
    }


def _pair(text: str) -> tuple[str, str]:
    pattern, equals, replacement = text.partition("=")
    if not equals:
        raise OptionError([("rename", f"expected REGEX=TEXT, found {text!r}")])
    return pattern, replacement
