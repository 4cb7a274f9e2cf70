"""Keras 3 archives, ``.keras``: a zip of the model's configuration and its weights in HDF5."""

from __future__ import annotations

import tempfile
import zipfile
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING, Final, cast

from ...._reader import Reader
from ....errors import SourceError
from .._members import split_members
from .._source import Contents, Format, ReadOptions, reject_options
from .._stored_copy import REMARK, make_stored_copy, needs_copy
from .._zip import ZIP_ERRORS, check_expansion, check_record_name, data_offset, first_record_name
from .._zip_records import StoredRecords
from ._file_window import FileWindow
from .hdf5 import open_contents
from .layout import convert_archived_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WEIGHTS_RECORD: Final = "model.weights.h5"
_CONFIG_RECORD: Final = "config.json"
_READ_RECORDS: Final = (_WEIGHTS_RECORD, "metadata.json")
# Other zip archives may start with other records; Keras starts with one of these.
_FIRST_RECORDS: Final = (
    b"metadata.json", _CONFIG_RECORD.encode(), _WEIGHTS_RECORD.encode(), b"assets/"
)  # fmt: skip
_CHUNK_SIZE: Final = 1 << 20
_MAX_CONFIG_SIZE: Final = 1 << 26


@contextmanager
def _open(path: Path, read_options: ReadOptions) -> Iterator[Contents]:
    reject_options(FORMAT.name, key=read_options.key)
    with ExitStack() as stack:
        archive = _open_archive(path, stack)
        if read_options.restore == "model":
            yield _find_model(path, archive, read_options, stack)
        else:
            yield _find_weights(path, archive, read_options, stack)


def _open_archive(path: Path, stack: ExitStack) -> zipfile.ZipFile:
    with _damaged():
        return stack.enter_context(zipfile.ZipFile(path))


def _find_weights(
    path: Path, archive: zipfile.ZipFile, read_options: ReadOptions, stack: ExitStack
) -> Contents:
    """Return the weights without their places."""
    with _damaged():
        config = b"" if read_options.layout is None else _read_config(archive)
        content = stack.enter_context(_open_weights(path, archive))
    convert = partial(convert_archived_file, config=config)
    checkpoints, records = split_members(_other_records(archive))
    contents = stack.enter_context(
        open_contents(content, path, read_options, convert, unread={"records": records})
    )
    return replace(contents, tensors=contents.tensors + checkpoints)


def _find_model(
    path: Path, archive: zipfile.ZipFile, read_options: ReadOptions, stack: ExitStack
) -> Contents:
    """Return the weights with their places; those of an uncompressed copy, if compressed."""
    copies = {}
    if needs_copy(archive, [_find_record(archive, _WEIGHTS_RECORD)]):
        path = copies[0] = make_stored_copy(archive, stack)
        archive = _open_archive(path, stack)
    stored = StoredRecords(Reader(stack.enter_context(path.open("rb")), path), archive)
    record = stored.find(_WEIGHTS_RECORD)
    with _damaged():
        content = stack.enter_context(_open_weights(path, archive))
    base = record.start if record else None
    # A restored file has no layout.
    convert = partial(convert_archived_file, config=b"")
    contents = stack.enter_context(open_contents(content, path, read_options, convert, base=base))
    places = [tensor.place for tensor in contents.tensors if tensor.place is not None]
    remarks = (REMARK,) if copies else ()
    return replace(contents, remarks=remarks, checksums=stored.checksums(places), copies=copies)


@contextmanager
def _damaged() -> Iterator[None]:
    try:
        yield
    except ZIP_ERRORS as error:
        raise SourceError(f"damaged archive: {error}") from error


def _other_records(archive: zipfile.ZipFile) -> list[str]:
    names = [info.filename for info in archive.infolist() if not info.filename.endswith("/")]
    return [name for name in names if name not in _READ_RECORDS]


def _find_record(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    for info in archive.infolist():
        check_record_name(info)
    found = [info for info in archive.infolist() if info.filename == name]
    if len(found) != 1:
        raise SourceError(f"found {len(found)} records {name!r} in the zip archive, expected 1")
    (info,) = found
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SourceError(f"the record {name!r} uses a compression method other than deflate")
    check_expansion(info)
    return info


def _read_config(archive: zipfile.ZipFile) -> bytes:
    info = _find_record(archive, _CONFIG_RECORD)
    if info.file_size > _MAX_CONFIG_SIZE:
        raise SourceError(
            f"the record {_CONFIG_RECORD!r} has {info.file_size} bytes, more than the limit of "
            f"{_MAX_CONFIG_SIZE}"
        )
    return archive.read(info)


def _open_weights(path: Path, archive: zipfile.ZipFile) -> IO[bytes]:
    """Return the weights as a file, after checking all of them against the archive's checksum."""
    info = _find_record(archive, _WEIGHTS_RECORD)
    if info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size:
        _extract(archive, info, None)
        with path.open("rb") as file:
            start = data_offset(Reader(file, path), info)
        return cast("IO[bytes]", FileWindow(path, start, info.file_size))
    with ExitStack() as stack:
        extracted = stack.enter_context(tempfile.TemporaryFile())
        _extract(archive, info, extracted)
        stack.pop_all()
        return extracted


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: IO[bytes] | None) -> None:
    with archive.open(info) as record:
        while chunk := record.read(_CHUNK_SIZE):
            if target is not None:
                target.write(chunk)


def _matches(head: bytes) -> bool:
    return first_record_name(head).startswith(_FIRST_RECORDS)


FORMAT: Final = Format("keras", (".keras",), _matches, _open, "h5py>=3.10", channels_last=True)
