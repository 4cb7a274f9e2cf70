"""``vggq unpack FILE OUT``."""

from __future__ import annotations

import zipfile
from pathlib import Path
from reprlib import repr as short
from typing import IO, TYPE_CHECKING, Final

import numpy as np

from ... import _weights
from ...errors import TargetError
from ..atomic_file import atomic_write
from ..optional import require
from .console import print_line, progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from ..._weights import Weights
    from .console import Commands

    Advance = Callable[[int, int], None]


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("unpack", help="restore a packed file to float32")
    parser.add_argument("file", metavar="FILE", help="a .vggq file")
    parser.add_argument("out", metavar="OUT", help="the .safetensors or .npz file to write")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    out = Path(arguments.out)
    write = _WRITERS.get(out.suffix)
    if write is None:
        raise TargetError(f"{out}: unknown suffix {out.suffix!r}, expected {' or '.join(_WRITERS)}")
    if out.is_dir():
        raise TargetError(f"{out} is a directory")
    with (
        _weights.open(arguments.file) as weights,
        progress("unpacking") as advance,
        atomic_write(out) as file,
    ):
        write(weights, file, advance)
        tensors = len(weights)
    print_line(f"{out}: {tensors} tensors")


def _write_safetensors(weights: Weights, file: IO[bytes], advance: Advance) -> None:
    save = require("safetensors.numpy", "build").save
    if _METADATA in weights:
        raise TargetError(
            f"tensor {_METADATA!r} has a name that safetensors keeps for itself: unpack to .npz"
        )
    tensors = {}
    for done, name in enumerate(weights, 1):
        tensors[name] = weights[name]
        advance(done, len(weights))
    file.write(save(tensors))


def _write_npz(weights: Weights, file: IO[bytes], advance: Advance) -> None:
    for name in weights:
        if "\0" in name or len(name.encode()) > _MOST_OF_A_NAME:
            raise TargetError(
                f"tensor {short(name)} has a name that no zip archive holds: unpack to .safetensors"
            )
    # Not numpy.savez, whose keyword arguments leave no room for a tensor named "file".
    with zipfile.ZipFile(file, "w") as archive:
        for done, name in enumerate(weights, 1):
            # Without a date given, the hour of the day would get into the file.
            member = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, weights[name], allow_pickle=False)
            advance(done, len(weights))


_METADATA: Final = "__metadata__"
_MOST_OF_A_NAME: Final = (1 << 16) - 1 - len(".npy")
_WRITERS: Final = {".safetensors": _write_safetensors, ".npz": _write_npz}
