"""Zip archives: what is checked of a member, and where its bytes lie."""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Final

from ...errors import SourceError

if TYPE_CHECKING:
    from ..._reader import Reader

# What zipfile raises over a damaged archive depends on where the damage is.
DAMAGE: Final = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError,
                 NotImplementedError, RuntimeError)  # fmt: skip
# Weights hardly compress: what grows more than this, and to more than that, is a bomb.
_MOST_EXPANDED: Final = 100
_SMALL: Final = 1 << 28
_LONGEST_DESCRIPTOR: Final = 24
_LOCAL_HEADER: Final = struct.Struct("<4s5H3L2H")


def first_name(head: bytes) -> bytes:
    """The name of the first member of an archive that begins like this; empty where it is none."""
    if not head.startswith(b"PK\x03\x04"):
        return b""
    size = int.from_bytes(head[26:28], "little")
    return head[30 : 30 + size]


def check_name(info: zipfile.ZipInfo) -> None:
    """Refuse a member that would be written elsewhere by who extracts it.

    Raises:
        SourceError: its name leads out of the archive.

    """
    name = info.filename
    if name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise SourceError(f"a record named {name!r} leads out of the archive")


def check_growth(info: zipfile.ZipInfo) -> None:
    """Refuse a member that is a bomb.

    Raises:
        SourceError: it would expand to far more than it is.

    """
    if info.file_size > max(_SMALL, _MOST_EXPANDED * info.compress_size):
        raise SourceError(f"the record {info.filename!r} would expand to {info.file_size} bytes")


def check_directory(file: Reader, archive: zipfile.ZipFile) -> None:
    """Refuse an archive whose directory passes a member over, as a damaged one may do.

    A single wrong length there hides what follows; the members themselves leave no room.

    Raises:
        SourceError: there is more between its members than one's descriptor.

    """
    end = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        _check_gap(end, info.header_offset)
        end = data_start(file, info) + info.compress_size
    _check_gap(end, archive.start_dir)


def _check_gap(end: int, start: int) -> None:
    if not 0 <= start - end <= _LONGEST_DESCRIPTOR:
        raise SourceError(f"the archive's directory says nothing of bytes {end} to {start}")


def data_start(file: Reader, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin.

    Raises:
        SourceError: the file ends before.

    """
    header = file.read_at(info.header_offset, _LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size:
        raise SourceError(f"the record {info.filename!r} is not in the archive")
    # The name and the extra field lie between the local header and the data.
    name_size, extra_size = _LOCAL_HEADER.unpack(header)[-2:]
    start: int = info.header_offset + _LOCAL_HEADER.size + name_size + extra_size
    return start
