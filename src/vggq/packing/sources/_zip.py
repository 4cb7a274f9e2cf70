"""Validation of zip archives, and the offsets of their records."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Final

from ...errors import SourceError

if TYPE_CHECKING:
    from ..._reader import Reader

# The exception that zipfile raises for a damaged archive depends on where the damage is.
ZIP_ERRORS: Final = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError,
                     NotImplementedError, RuntimeError)  # fmt: skip
# Weights hardly compress: a record that exceeds both limits is a zip bomb.
_MAX_EXPANSION: Final = 100
_MIN_BOMB_SIZE: Final = 1 << 28
MAX_DESCRIPTOR_SIZE: Final = 24
"""Bytes of the largest data descriptor."""

LOCAL_SIGNATURE: Final = b"PK\x03\x04"
LOCAL_HEADER: Final = struct.Struct("<4s5H3L2H")


def first_record_name(head: bytes) -> bytes:
    """Return the name of an archive's first record that is not a folder.

    It is empty if `head` does not begin an archive, or has only folders.
    """
    start = 0
    while head.startswith(LOCAL_SIGNATURE, start) and len(head) >= start + LOCAL_HEADER.size:
        *_, stored_size, _, name_size, extra_size = LOCAL_HEADER.unpack_from(head, start)
        begin = start + LOCAL_HEADER.size
        name = head[begin : begin + name_size]
        if not name.endswith(b"/"):
            return name
        start = begin + name_size + extra_size + stored_size
    return b""


def has_record_suffix(head: bytes, suffix: bytes) -> bool:
    """Return whether a record that starts in an archive's first bytes has a name with a suffix."""
    if not head.startswith(LOCAL_SIGNATURE):
        return False
    starts = [match.start() for match in re.finditer(re.escape(LOCAL_SIGNATURE), head)]
    ends = [
        start + 30 + int.from_bytes(head[start + 26 : start + 28], "little") for start in starts
    ]
    return any(head[end - len(suffix) : end] == suffix for end in ends)


def check_record_name(info: zipfile.ZipInfo) -> None:
    """Raise SourceError if extracting the record would write outside the target folder."""
    name = info.filename
    if name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise SourceError(f"the record name {name!r} leads out of the archive")


def check_expansion(
    info: zipfile.ZipInfo, factor: int = _MAX_EXPANSION, minimum: int = _MIN_BOMB_SIZE
) -> None:
    """Raise SourceError if the record is a zip bomb.

    Args:
        info: the record.
        factor: how many times its compressed size the record may have.
        minimum: size in bytes that any record may have.

    """
    if info.file_size > max(minimum, factor * info.compress_size):
        raise SourceError(
            f"the record {info.filename!r} would expand from {info.compress_size} to "
            f"{info.file_size} bytes, as only a zip bomb does"
        )


def check_directory(file: Reader, archive: zipfile.ZipFile) -> None:
    """Check that the archive's central directory lists all of its records.

    A single wrong length in a damaged directory hides the records that follow. The check finds
    their bytes: nothing but one data descriptor fits between two records.

    Raises:
        SourceError: unlisted bytes are between two records, or records overlap.

    """
    end = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        _check_gap(end, info.header_offset)
        end = data_offset(file, info) + info.compress_size
    _check_gap(end, archive.start_dir)


def _check_gap(end: int, start: int) -> None:
    if not 0 <= start - end <= MAX_DESCRIPTOR_SIZE:
        raise SourceError(f"the archive's directory does not describe bytes {end} to {start}")


def data_offset(file: Reader, info: zipfile.ZipInfo) -> int:
    """Return the offset of a record's first byte.

    Raises:
        SourceError: the file ends within the record's header.

    """
    header = file.read_at(info.header_offset, LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size:
        raise SourceError(f"the archive ends before the record {info.filename!r}")
    # The name and the extra field stand between the local header and the data.
    name_size, extra_size = LOCAL_HEADER.unpack(header)[-2:]
    offset: int = info.header_offset + LOCAL_HEADER.size + name_size + extra_size
    return offset
