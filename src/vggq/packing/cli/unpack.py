"""The command ``vggq unpack FILE OUT``."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from ... import _weights
from ..._model_info import WHOLE_FOLDER
from ..._restore import ModelReader, create_folders
from ..._weights import underlying_file
from ...errors import TargetError
from ..atomic_file import atomic_write
from ..atomic_folder import atomic_folder
from ..sizes import megabytes
from ..summary import printable
from .console import add_command_parser, add_quiet_flag, print_line, show_progress
from .packed_argument import check_packed
from .unpack_tensors import TENSOR_WRITERS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from ..._model_info import Member, Model
    from ..._weights import Weights
    from .console import Commands

    Advance = Callable[[int, int], None]


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command_parser(
        commands,
        "unpack",
        "restore the model or the tensors of a packed file",
        "vggq unpack rec.vggq rec.onnx",
        "vggq unpack model.vggq model.safetensors",
    )
    parser.add_argument("file", metavar="FILE", help="a .vggq file")
    parser.add_argument(
        "out",
        metavar="OUT",
        help="the file of the model to write, or a new folder if it has several files; a name that "
        "ends in .safetensors or .npz is that of a file for the tensors alone, unless the model's "
        "own file has this suffix",
    )
    add_quiet_flag(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    out = Path(arguments.out)
    check_packed(arguments.file)
    _check_target(out, arguments.file)
    with _weights.open(arguments.file) as weights:
        model = weights.manifest.model
        if model is None or _asks_for_tensors(model, out):
            _unpack_tensors(weights, out)
        elif len(model.members) == 1 and model.main != WHOLE_FOLDER:
            _unpack_file(weights, model, out)
        else:
            _unpack_folder(weights, model, out)


def _check_target(out: Path, file: str) -> None:
    """Reject a file that must not be replaced."""
    try:
        if not out.exists() or out.is_dir():
            return
        if out.samefile(file):
            raise TargetError("the target is the packed file itself", path=out)
        # A superuser could replace a device.
        if not out.is_file():
            raise TargetError("not a regular file", path=out)
    except OSError as error:
        raise TargetError(f"cannot be written: {error.strerror}", path=out) from error


def _asks_for_tensors(model: Model, out: Path) -> bool:
    return out.suffix in TENSOR_WRITERS and PurePosixPath(model.main).suffix != out.suffix


def _unpack_tensors(weights: Weights, out: Path) -> None:
    write = TENSOR_WRITERS.get(out.suffix)
    if write is None:
        expected = " or ".join(TENSOR_WRITERS)
        raise TargetError(f"expected a name that ends in {expected}", path=out)
    if out.is_dir():
        raise TargetError("a directory, not a file", path=out)
    with show_progress("unpacking") as advance, atomic_write(out) as file:
        write(weights, file, advance)
    print_line(f"{out}: {len(weights)} tensors")


def _unpack_file(weights: Weights, model: Model, out: Path) -> None:
    (member,) = model.members
    if out.is_dir():
        name = PurePosixPath(member.path).name
        raise TargetError(f"a directory, not a file; write {out / name}", path=out)
    with show_progress("unpacking") as advance, atomic_write(out) as file:
        _ModelWriter(weights, model, advance).write(member, file)
    print_line(f"{out}: restored {printable(member.path)}, {megabytes(member.size)}")


def _unpack_folder(weights: Weights, model: Model, out: Path) -> None:
    with show_progress("unpacking") as advance, atomic_folder(out) as folder:
        writer = _ModelWriter(weights, model, advance)
        for member in model.members:
            path = folder / member.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                writer.write(member, file)
        create_folders(model, folder)
    main = "" if model.main == WHOLE_FOLDER else f"; the main one is {printable(model.main)}"
    count = len(model.members)
    print_line(f"{out}: restored {count} files, {megabytes(model.size)}{main}")


class _ModelWriter:
    """Writes the files of a model in order, piece by piece.

    Args:
        weights: the open packed file.
        model: its model.
        advance: called with the bytes that are written, and the total.

    """

    def __init__(self, weights: Weights, model: Model, advance: Advance) -> None:
        self._reader = ModelReader(underlying_file(weights), model)
        self._advance = advance
        self._total = model.size
        self._done = 0

    def write(self, member: Member, file: IO[bytes]) -> None:
        """Write a file of the model."""
        for piece in self._reader.pieces(member):
            self._done += file.write(piece)
            self._advance(self._done, self._total)
