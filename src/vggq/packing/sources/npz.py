"""numpy's .npz archives; pickled objects are never loaded."""

from __future__ import annotations

import threading
import zipfile
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING, Final

from ..._reader import Reader
from ...errors import SourceError
from ._members import PROBLEM, split_members
from ._numpy_array import ARRAY_ERRORS, NPY_MAGIC, describe_array
from ._remarks import remark_unpacked
from ._source import Contents, Format, ReadOptions, SourceTensor, reject_options, unsupported_tensor
from ._stored_copy import REMARK, make_stored_copy, needs_copy
from ._unique_names import make_unique
from ._zip import check_directory, check_expansion, has_record_suffix
from ._zip_records import StoredRecords

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_RECORD_SUFFIX: Final = ".npy"
_CHECKPOINT_MAGICS: Final = (b"PK\x03\x04", b"\x89HDF\r\n\x1a\n")


@contextmanager
def _open(path: Path, read_options: ReadOptions) -> Iterator[Contents]:
    reject_options(FORMAT.name, layout=read_options.layout, key=read_options.key)
    with ExitStack() as stack:
        archive, file = _open_archive(path, stack)
        if read_options.restore == "model":
            yield _find_model(archive, file, stack)
        else:
            yield _Archive(archive).describe(read_options.dtypes)


def _open_archive(path: Path, stack: ExitStack) -> tuple[zipfile.ZipFile, Reader]:
    """Return an archive, and its file."""
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
        file = Reader(stack.enter_context(path.open("rb")), path)
        check_directory(file, archive)
        for record in archive.infolist():
            check_expansion(record)
    except ARRAY_ERRORS as error:
        raise SourceError(f"damaged .npz archive: {error}") from error
    return archive, file


def _find_model(archive: zipfile.ZipFile, file: Reader, stack: ExitStack) -> Contents:
    """Return all arrays with their places; those of an uncompressed copy, if it is compressed."""
    copies = {}
    arrays = [info for info in archive.infolist() if info.filename.endswith(_RECORD_SUFFIX)]
    if needs_copy(archive, arrays):
        copies[0] = make_stored_copy(archive, stack)
        archive, file = _open_archive(copies[0], stack)
    stored = StoredRecords(file, archive)
    tensors = _Archive(archive, stored).describe(()).tensors
    names = make_unique([tensor.name for tensor in tensors])
    places = [tensor.place for tensor in tensors if tensor.place is not None]
    return Contents(
        [replace(tensor, name=name) for tensor, name in zip(tensors, names, strict=True)],
        remarks=(REMARK,) if copies else (),
        checksums=stored.checksums(places),
        copies=copies,
    )


class _Archive:
    """An open archive, of which any thread may read a record.

    Args:
        archive: the archive.
        stored: the places of its records, if those of the arrays are needed.

    """

    def __init__(self, archive: zipfile.ZipFile, stored: StoredRecords | None = None) -> None:
        self._archive = archive
        self._stored = stored
        self._lock = threading.Lock()

    def describe(self, declarations: Sequence[tuple[str, str]]) -> Contents:
        """Return the arrays as tensors; another checkpoint in the archive is unsupported."""
        tensors, others = [], []
        for record in self._archive.infolist():
            if record.filename.endswith(_RECORD_SUFFIX):
                tensors.append(self._describe_array(record, declarations))
            elif not record.filename.endswith("/"):
                start = self._read_start(record)
                if start.startswith(NPY_MAGIC):
                    tensors.append(self._describe_array(record, declarations))
                elif start.startswith(_CHECKPOINT_MAGICS):
                    tensors.append(unsupported_tensor(record.filename, PROBLEM))
                else:
                    others.append(record.filename)
        checkpoints, rest = split_members(others)
        return Contents(tensors + checkpoints, remarks=remark_unpacked({"members": rest}))

    @contextmanager
    def _open_record(self, record: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
        with self._lock, self._archive.open(record) as file:
            yield file

    def _read_start(self, record: zipfile.ZipInfo) -> bytes:
        try:
            with self._open_record(record) as file:
                return file.read(max(map(len, _CHECKPOINT_MAGICS)))
        except ARRAY_ERRORS as error:
            name = record.filename
            raise SourceError(f"damaged .npz archive: {name!r}: {error}") from error

    def _describe_array(
        self, record: zipfile.ZipInfo, declarations: Sequence[tuple[str, str]]
    ) -> SourceTensor:
        name = record.filename.removesuffix(_RECORD_SUFFIX)
        open_file = partial(self._open_record, record)
        found = self._stored and self._stored.find(record.filename)
        start = found.start if found else None
        try:
            return describe_array(name, open_file, record.file_size, declarations, start)
        except SourceError as error:
            error.locate(tensor=name)
            raise


def _matches(head: bytes) -> bool:
    return head.startswith(b"PK\x05\x06") or has_record_suffix(head, _RECORD_SUFFIX.encode())


FORMAT: Final = Format("npz", (".npz",), _matches, _open)
