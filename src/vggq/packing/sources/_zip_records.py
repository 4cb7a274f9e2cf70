"""The offsets of stored records in a zip archive, and those of their checksums."""

from __future__ import annotations

import struct
import zipfile
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final

from ...errors import SourceError
from ._places import Checksum
from ._zip import LOCAL_HEADER, LOCAL_SIGNATURE, MAX_DESCRIPTOR_SIZE, data_offset

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..._reader import Reader
    from ._places import Place

_CENTRAL_SIGNATURE: Final = b"PK\x01\x02"
_CENTRAL_HEADER: Final = struct.Struct("<4s6H3L5H2L")
_CENTRAL_CRC: Final = 16
_LOCAL_CRC: Final = 14
_CRC_SIZE: Final = 4
_DESCRIPTOR_SIGNATURES: Final = (b"PK\x07\x08", b"")
# Sizes in a data descriptor have eight bytes in a zip64 archive.
_DESCRIPTOR_WIDTHS: Final = (4, 8)
_HAS_DESCRIPTOR: Final = 1 << 3
# Encrypted, strongly encrypted, or with masked headers.
_ENCRYPTED: Final = 1 | 1 << 6 | 1 << 13


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record that is neither compressed nor encrypted.

    Attributes:
        info: its description in the central directory.
        start: the offset of its first byte.
        central: the offset of its header in the central directory.
        limit: the offset at which the next record or the directory begins.

    """

    info: zipfile.ZipInfo
    start: int
    central: int
    limit: int

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.info.file_size


class StoredRecords:
    """The records of an archive that are neither compressed nor encrypted, by name.

    Args:
        file: the archive's file.
        archive: the archive.

    Raises:
        SourceError: records overlap, or reach beyond the place of the central directory.

    """

    def __init__(self, file: Reader, archive: zipfile.ZipFile) -> None:
        self._file = file
        infos = archive.infolist()
        counts = Counter(info.filename for info in infos)
        starts = _find_starts(file, archive)
        centrals = _find_central_headers(file, archive)
        ordered = sorted(info.header_offset for info in infos)
        limits = dict(zip(ordered, [*ordered[1:], archive.start_dir], strict=False))
        self._records = {
            info.filename: StoredRecord(info, start, central, limits[info.header_offset])
            for info, start, central in zip(infos, starts, centrals, strict=True)
            if central is not None and _is_plain(info) and counts[info.filename] == 1
        }

    def find(self, name: str) -> StoredRecord | None:
        """Return a record; None if it is missing, compressed or encrypted, or has two headers."""
        return self._records.get(name)

    def checksums(self, places: Iterable[Place]) -> tuple[Checksum, ...]:
        """Return the checksums over the records that contain these places of the archive."""
        records = sorted(self._records.values(), key=lambda record: record.start)
        starts = [record.start for record in records]
        indices = {bisect_right(starts, place.start) - 1 for place in places}
        return tuple(
            Checksum(0, record.start, record.size, self._crc_fields(record))
            for record in (records[index] for index in sorted(indices) if index >= 0)
        )

    def _crc_fields(self, record: StoredRecord) -> tuple[int, ...]:
        """Return the offsets at which the CRC-32 of a record is stored."""
        local = record.info.header_offset + _LOCAL_CRC
        flags, in_local = self._read_local(record.info)
        # A local CRC-32 of 0 means that only the data descriptor has it.
        has_descriptor = bool((flags | record.info.flag_bits) & _HAS_DESCRIPTOR)
        fields = [local] if in_local == record.info.CRC and (in_local or not has_descriptor) else []
        if has_descriptor and (descriptor := self._find_descriptor(record)) is not None:
            fields.append(descriptor)
        return (*fields, record.central + _CENTRAL_CRC)

    def _read_local(self, info: zipfile.ZipInfo) -> tuple[int, int]:
        """Return the flags and the CRC-32 in the header before a record."""
        header = LOCAL_HEADER.unpack(self._file.read_at(info.header_offset, LOCAL_HEADER.size))
        return header[2], header[6]

    def _find_descriptor(self, record: StoredRecord) -> int | None:
        """Return the offset of the CRC-32 behind a record; None unless the sizes confirm it."""
        end = record.start + record.size
        content = self._file.read_at(end, min(MAX_DESCRIPTOR_SIZE, record.limit - end))
        crc = record.info.CRC.to_bytes(_CRC_SIZE, "little")
        for signature, width in product(_DESCRIPTOR_SIGNATURES, _DESCRIPTOR_WIDTHS):
            if record.size >> 8 * width:
                continue
            sizes = record.size.to_bytes(width, "little") * 2
            if content.startswith(signature + crc + sizes):
                return end + len(signature)
        return None


def is_encrypted(info: zipfile.ZipInfo) -> bool:
    """Return whether a record needs a password."""
    return bool(info.flag_bits & _ENCRYPTED)


def _is_plain(info: zipfile.ZipInfo) -> bool:
    is_stored = info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size
    return is_stored and not is_encrypted(info)


def _find_starts(file: Reader, archive: zipfile.ZipFile) -> list[int]:
    """Return the offset of each record's first byte, in the order of the central directory."""
    starts: dict[int, int] = {}
    previous, end = "", 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        if info.header_offset < end or info.header_offset < 0:
            raise SourceError(f"the records {previous!r} and {info.filename!r} overlap")
        if file.read_at(info.header_offset, len(LOCAL_SIGNATURE)) != LOCAL_SIGNATURE:
            raise SourceError(f"no record begins at the offset of {info.filename!r}")
        starts[info.header_offset] = data_offset(file, info)
        previous, end = info.filename, starts[info.header_offset] + info.compress_size
        if end > archive.start_dir:
            raise SourceError(f"the record {previous!r} reaches beyond the records of the archive")
    return [starts[info.header_offset] for info in archive.infolist()]


def _find_central_headers(file: Reader, archive: zipfile.ZipFile) -> list[int | None]:
    """Return the offset of each record's header in the central directory.

    It is None for those that are not where the lengths of the earlier ones lead.
    """
    position: int = archive.start_dir
    directory = file.read_at(position, file.size - position)
    found: list[int | None] = []
    at = 0
    for info in archive.infolist():
        header = directory[at : at + _CENTRAL_HEADER.size]
        if len(header) < _CENTRAL_HEADER.size or not header.startswith(_CENTRAL_SIGNATURE):
            break
        fields = _CENTRAL_HEADER.unpack(header)
        found.append(position + at if fields[7] == info.CRC else None)
        at += _CENTRAL_HEADER.size + sum(fields[10:13])
    return found + [None] * (len(archive.infolist()) - len(found))
