"""Zip archives written field by field, for variants that zipfile does not write."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import Final

LOCAL: Final = struct.Struct("<4s5H3L2H")
CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
END: Final = struct.Struct("<4s4H2LH")
HAS_DESCRIPTOR: Final = 8


@dataclass
class Record:
    """A stored record.

    Attributes:
        name: its name.
        content: its bytes.
        descriptor: the format of the data descriptor after its bytes, without the signature; empty
            for none.
        signature: the signature of the data descriptor.
        crc: the CRC-32; the right one if it is None.
        local_crc: the CRC-32 in the local header; the same, or 0 if there is a data descriptor, if
            it is None.
        offset: the offset of its local header in the directory; the right one if it is None.

    """

    name: str
    content: bytes = field(repr=False)
    descriptor: str = ""
    signature: bytes = b"PK\x07\x08"
    crc: int | None = None
    local_crc: int | None = None
    offset: int | None = None
    size: int | None = None
    flags: int = 0


def build_zip(*records: Record) -> bytes:
    """Return an archive with these records."""
    body, directory = b"", b""
    for record in records:
        name, size = record.name.encode(), len(record.content)
        size = size if record.size is None else record.size
        crc = zlib.crc32(record.content) if record.crc is None else record.crc
        flags = record.flags | (HAS_DESCRIPTOR if record.descriptor else 0)
        local_crc = 0 if record.descriptor else crc
        local_crc = local_crc if record.local_crc is None else record.local_crc
        local_size = 0 if record.descriptor else size
        offset = len(body) if record.offset is None else record.offset
        local = (b"PK\x03\x04", 20, flags, 0, 0, 0, local_crc, local_size, local_size, len(name), 0)
        body += LOCAL.pack(*local) + name + record.content
        if record.descriptor:
            body += record.signature + struct.pack(record.descriptor, crc, size, size)
        central = (20, 20, flags, 0, 0, 0, crc, size, size, len(name), 0, 0, 0, 0, 0, offset)
        directory += CENTRAL.pack(b"PK\x01\x02", *central) + name
    count = len(records)
    end = END.pack(b"PK\x05\x06", 0, 0, count, count, len(directory), len(body), 0)
    return body + directory + end
