"""Packed files of any name, and those in a wheel, an sdist or any other archive."""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING, Final, Literal

from ..._container import read_header_text
from ..._json import parse_json
from ..._manifest_json import METADATA_KEY
from ..._reader import Reader
from ...errors import HeaderError, PackedFileError
from .. import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_ARCHIVE_SUFFIXES: Final = (".whl", ".zip", ".tar.gz", ".tgz", ".tar")
# The exception for a damaged archive depends on where the damage is.
_ARCHIVE_ERRORS: Final = (zipfile.BadZipFile, tarfile.TarError, zlib.error, OSError, EOFError,
                          ValueError, RuntimeError)  # fmt: skip


class _MemberFile(io.BytesIO):
    """A member in memory; `name` is shown in errors about it."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def is_archive(path: Path) -> bool:
    """Return whether a file may contain packed files, by its name."""
    return path.name.lower().endswith(_ARCHIVE_SUFFIXES)


def is_packed(path: Path) -> bool:
    """Return whether a file of any name is a packed file."""
    try:
        with path.open("rb") as file:
            reader = Reader(file, path, owned=False)
            # Only the metadata count: a damaged packed file is one nevertheless.
            header = parse_json(read_header_text(reader.read_at, reader.size))
    except (HeaderError, PackedFileError, OSError, ValueError):
        return False
    metadata = header.get("__metadata__")
    return isinstance(metadata, dict) and METADATA_KEY in metadata


def packed_members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the name and the content of each packed file in an archive.

    Raises:
        PackedFileError: the archive is missing or damaged, or contains no packed file.

    """
    found = False
    with _as_packed_file_errors(path):
        for name, read in _members(path):
            found = True
            yield name, _MemberFile(read(), f"{path}: {name}")
    if not found:
        raise _no_packed_file(path)


def packed_names(path: Path) -> list[str]:
    """Return the name of each packed file in an archive.

    Raises:
        PackedFileError: the archive is missing or damaged, or contains no packed file.

    """
    with _as_packed_file_errors(path):
        names = [name for name, _ in _members(path)]
    if not names:
        raise _no_packed_file(path)
    return names


def _no_packed_file(path: Path) -> PackedFileError:
    return PackedFileError(f"contains no packed file, whose name ends in {SUFFIX}", path=path)


@contextmanager
def _as_packed_file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise PackedFileError("no such file", path=path) from error
    except _ARCHIVE_ERRORS as error:
        raise PackedFileError(f"cannot be read as an archive: {error}", path=path) from error


def _members(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield the name of each packed file, and a function that reads it before the next one."""
    if path.name.lower().endswith((".whl", ".zip")):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.filename.endswith(SUFFIX):
                    yield info.filename, partial(archive.read, info)
        return
    # The message of the mode that tries all compressions has several lines.
    mode: Literal["r:", "r:gz"] = "r:" if path.name.lower().endswith(".tar") else "r:gz"
    with tarfile.open(path, mode) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.name.endswith(SUFFIX) else None
            if file is not None:
                yield member.name, file.read
