"""Restore the files of a model: `read_bytes` and `as_file`."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from ._packed_file import open_model
from ._reader import reason_of
from .errors import OptionError, TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ._model_info import Member, Model
    from ._readable import Anchor, Readable

# Names of members in a message.
_MAX_NAMES: Final = 20


def read_bytes(
    source: Readable | Anchor,
    resource: str | None = None,
    *,
    member: str | None = None,
    threads: int | None = None,
    max_bytes: int | None = None,
) -> bytes:
    """Restore a file of a model.

    Args:
        source: as for `open`.
        resource: as for `open`.
        member: the path of a file of the model, as in `Weights.members`; it may be left out if the
            model has only one.
        threads: as for `load`.
        max_bytes: the memory limit in bytes. The files of the model together may not take more,
            nor the decompressed content of one tensor, nor the header, as for `open`.

    Returns:
        The bytes of the file. Its SHA-256 is not computed; `vggq verify` does that.

    Raises:
        PackedFileError: the packed file is missing or unreadable, or holds only tensors.
        FormatError: the file is not a valid packed file, or its bytes are damaged.
        LimitError: the model needs more memory than `max_bytes`; nothing was decoded.
        OptionError: the model has no such member, or several and none was given; or `threads` is
            invalid.
        MissingDependencyError: there is no library for zstd.

    """
    from ._restore import restore_to_memory  # noqa: PLC0415 - not needed to load tensors

    packed, model = open_model(source, resource, max_bytes)
    with packed:
        return restore_to_memory(packed, model, _find_member(model, member), threads)


def _find_member(model: Model, path: str | None) -> Member:
    if path is None and len(model.members) == 1:
        return model.members[0]
    for member in model.members:
        if member.path == path:
            return member
    problem = f"no file is named {path!r}" if path is not None else "the model has several files"
    names = [repr(member.path) for member in model.members[:_MAX_NAMES]]
    more = len(model.members) - len(names)
    listed = ", ".join(names) + (f" and {more} more" if more else "")
    raise OptionError([("member", f"{problem}; expected one of {listed}")])


@contextmanager
def as_file(
    source: Readable | Anchor,
    resource: str | None = None,
    *,
    dir: str | os.PathLike[str] | None = None,  # noqa: A002 - as in `tempfile`
    threads: int | None = None,
    max_bytes: int | None = None,
) -> Iterator[Path]:
    """Restore a model to a temporary folder during a ``with`` block.

    The folder can be read by its owner only. It is removed after the block, or when the interpreter
    ends if a file is still open on Windows; it stays if the process is killed. A process that is
    forked in the block uses the files as long as its parent's block lasts.

    Args:
        source: as for `open`.
        resource: as for `open`.
        dir: the folder to create the temporary folder in; by default the system's folder for
            temporary files.
        threads: as for `load`.
        max_bytes: as for `read_bytes`.

    Yields:
        The path of the main file, under its own name and with the other files of the model beside
        it; if the model is a folder, the path of the folder. SHA-256s are not computed;
        `vggq verify` does that.

    Raises:
        PackedFileError: the packed file is missing or unreadable, or holds only tensors.
        FormatError: the file is not a valid packed file, or its bytes are damaged.
        LimitError: the model needs more memory than `max_bytes`; nothing was written.
        TargetError: the temporary folder cannot be written.
        OptionError: `dir` or `threads` is invalid.
        MissingDependencyError: there is no library for zstd.

    """
    from ._model_info import WHOLE_FOLDER  # noqa: PLC0415 - not needed to load tensors
    from ._restore import restore_to_folder  # noqa: PLC0415
    from ._temporary_folder import temporary_folder  # noqa: PLC0415

    parent = _parse_dir(dir)
    packed, model = open_model(source, resource, max_bytes)
    with packed, ExitStack() as stack:
        with _translate_write_errors(parent):
            folder = stack.enter_context(temporary_folder(parent))
            restore_to_folder(packed, model, folder, threads)
        packed.close()
        yield folder if model.main == WHOLE_FOLDER else folder / model.main


def _parse_dir(argument: str | os.PathLike[str] | None) -> str | None:
    if argument is None:
        return None
    try:
        path = os.fsdecode(argument)
    except TypeError:
        path = "\0"
    if "\0" in path:
        raise OptionError([("dir", f"expected the path of a folder, found {argument!r}")])
    return path


@contextmanager
def _translate_write_errors(parent: str | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        import tempfile  # noqa: PLC0415

        # The errors of reading the packed file are VggqErrors already.
        raise TargetError(
            f"the temporary folder cannot be written: {reason_of(error)}; give another folder as "
            "`dir`, or restore a single file with `vggq.read_bytes`",
            path=error.filename or parent or tempfile.tempdir,
        ) from error
