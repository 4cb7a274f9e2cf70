"""Checkpoints of torch 1.6 and later: a zip archive of a pickle and the bytes of its storages."""

from __future__ import annotations

import re
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ...._reader import Reader
from ....errors import SourceError
from .._source import Contents, Format, ReadOptions, reject_options
from .._zip import ZIP_ERRORS, first_record_name
from .._zip_records import StoredRecords
from ._model_tensors import Graph, find_model_tensors
from ._records import PICKLE_RECORD, TORCHSCRIPT_RECORD, ArchiveRecords
from ._state_dict import find_contents
from ._torchscript import find_parameters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# torch.save writes the pickle first; TorchScript the extra files, or else the data. Sorted by name,
# the code of TorchScript is first.
_FIRST_RECORD: Final = re.compile(
    rb"[^/]+/(data\.pkl|data/|extra/|code/|constants\.pkl|constants/|version|byteorder|\.)"
)
_DATA: Final = "data"
_CONSTANTS: Final = "constants"


@contextmanager
def _open(path: Path, read_options: ReadOptions) -> Iterator[Contents]:
    reject_options(FORMAT.name, layout=read_options.layout)
    try:
        archive = zipfile.ZipFile(path)
    except ZIP_ERRORS as error:
        raise SourceError(f"damaged archive: {error}") from error
    with archive, path.open("rb") as opened:
        file = Reader(opened, path)
        if read_options.restore == "model":
            yield _find_model(archive, file)
        else:
            yield _find_state_dict(ArchiveRecords(archive, file), read_options)


def _find_model(archive: zipfile.ZipFile, file: Reader) -> Contents:
    """Return all tensors of an archive, with their places and the checksums over them."""
    # A wrong checksum stays wrong in the restored file.
    records = ArchiveRecords(archive, file, verified=False)
    stored = StoredRecords(file, archive)
    graphs = [Graph("", records.load_pickle(), records.storages(_DATA, stored))]
    if records.is_torchscript:
        constants = records.load_pickle(TORCHSCRIPT_RECORD)
        graphs.append(Graph(_CONSTANTS, constants, records.storages(_CONSTANTS, stored)))
    tensors = find_model_tensors(graphs)
    places = [tensor.place for tensor in tensors if tensor.place is not None]
    return Contents(tensors, checksums=stored.checksums(places))


def _find_state_dict(records: ArchiveRecords, read_options: ReadOptions) -> Contents:
    root = records.load_pickle()
    storages = records.storages(_DATA)
    if not records.is_torchscript:
        return find_contents(root, read_options.key, storages)
    if read_options.key is not None:
        raise SourceError("`key` is for checkpoints of torch.save, and this file is TorchScript")
    constants = records.load_pickle(TORCHSCRIPT_RECORD)
    return find_parameters(records, Graph("", root, storages), constants)


def _choose_restore(path: Path) -> str:
    """Return "model" for TorchScript, whose tensors are useless without its code."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[::2] for name in archive.namelist()}
    except ZIP_ERRORS:
        # Opening the file as a checkpoint raises the error that says more.
        return "tensors"
    folders = {folder for folder, name in names if name == TORCHSCRIPT_RECORD}
    is_torchscript = any((folder, PICKLE_RECORD) in names for folder in folders)
    return "model" if is_torchscript else "tensors"


def _matches(head: bytes) -> bool:
    first = first_record_name(head)
    return _FIRST_RECORD.match(first) is not None and not first.endswith(b".npy")


FORMAT: Final = Format(
    "torch",
    (".pth", ".pt", ".bin"),
    _matches,
    _open,
    default_restore=_choose_restore,
)
