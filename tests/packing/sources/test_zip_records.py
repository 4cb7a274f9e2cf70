"""The places of stored records, and the fields with their checksums."""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.packing.sources.pickles import tensor_pickle
from tests.packing.sources.splicing import read_contents, splice
from tests.packing.sources.zips import Record, build_zip
from vggq.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from vggq.packing.sources._places import Checksum

VALUES = bytes(range(40))
PICKLE = tensor_pickle(0, (10,), (1,), 10)
CRC = zlib.crc32(VALUES)


def save(path: Path, record: Record) -> Path:
    """Write a checkpoint with a storage of ten elements."""
    path.write_bytes(build_zip(Record("archive/data.pkl", PICKLE), record))
    return path


def storage(**changes: object) -> Record:
    return Record("archive/data/0", VALUES, **changes)  # type: ignore[arg-type]


def checksum_of(path: Path) -> Checksum:
    (checksum,) = read_contents(path).checksums
    return checksum


def fields_of(path: Path, value: int) -> list[int]:
    """Return all offsets at which a value of 32 bits is in a file."""
    content, packed = path.read_bytes(), value.to_bytes(4, "little")
    return [at for at in range(len(content)) if content.startswith(packed, at)]


@pytest.mark.parametrize("signature", [b"PK\x07\x08", b""])
@pytest.mark.parametrize("descriptor", ["<LLL", "<LQQ"])
def test_data_descriptors_of_all_kinds_are_found(
    tmp_path: Path, descriptor: str, signature: bytes
) -> None:
    path = save(tmp_path / "m.pt", storage(descriptor=descriptor, signature=signature))
    checksum = checksum_of(path)
    assert path.read_bytes()[checksum.start : checksum.start + checksum.size] == VALUES
    assert list(checksum.fields) == fields_of(path, CRC)
    assert len(checksum.fields) == 2
    (written,) = splice(path, tmp_path / "spliced.pt").written.values()
    with zipfile.ZipFile(tmp_path / "spliced.pt") as archive:
        assert archive.testzip() is None
        assert archive.read("archive/data/0") == written


def test_checksums_in_local_headers_are_found(tmp_path: Path) -> None:
    path = save(tmp_path / "m.pt", storage())
    checksum = checksum_of(path)
    assert list(checksum.fields) == fields_of(path, CRC)
    # The CRC-32, two sizes and the lengths of the name and the extra field precede the name.
    assert checksum.fields[0] == checksum.start - len("archive/data/0") - 16
    path = save(tmp_path / "m.pt", storage(descriptor="<LLL", local_crc=CRC))
    assert len(checksum_of(path).fields) == 3
    assert list(checksum_of(path).fields) == fields_of(path, CRC)


def test_fields_with_another_value_are_left_out(tmp_path: Path) -> None:
    path = save(tmp_path / "m.pt", storage(local_crc=CRC ^ 1))
    assert len(checksum_of(path).fields) == 1
    assert list(checksum_of(path).fields) == fields_of(path, CRC)
    path = save(tmp_path / "m.pt", storage(descriptor="<LLL"))
    content = bytearray(path.read_bytes())
    descriptor, central = checksum_of(path).fields
    content[descriptor] ^= 1
    path.write_bytes(content)
    assert checksum_of(path).fields == (central,)
    content[descriptor] ^= 1
    # The sizes confirm that the four bytes are a checksum.
    content[descriptor + 4] ^= 1
    path.write_bytes(content)
    assert checksum_of(path).fields == (central,)


def test_a_local_checksum_of_zero_is_none_if_there_is_a_descriptor(tmp_path: Path) -> None:
    values = VALUES[:36] + _tail_for_zero(VALUES[:36])
    assert zlib.crc32(values) == 0
    for descriptor, count in (("<LLL", 2), ("", 2)):
        record = Record("archive/data/0", values, descriptor)
        checksum = checksum_of(save(tmp_path / "m.pt", record))
        assert len(checksum.fields) == count
        is_local = checksum.fields[0] < checksum.start
        assert is_local is not bool(descriptor)


def _tail_for_zero(head: bytes) -> bytes:
    """Return four bytes after which the CRC-32 is 0."""
    columns = [zlib.crc32(head + struct.pack("<L", 1 << bit)) for bit in range(32)]
    base = zlib.crc32(head + bytes(4))
    # Solve for the bits whose columns give the base, over GF(2).
    rows = [(column ^ base, 1 << bit) for bit, column in enumerate(columns)]
    target, chosen = base, 0
    for bit in range(32):
        pivot = next(row for row in rows if row[0] >> bit & 1)
        rows = [
            (row[0] ^ pivot[0], row[1] ^ pivot[1]) if row[0] >> bit & 1 else row
            for row in rows
            if row is not pivot
        ]
        if target >> bit & 1:
            target, chosen = target ^ pivot[0], chosen ^ pivot[1]
    return struct.pack("<L", chosen)


def test_a_wrong_checksum_does_not_prevent_reading(tmp_path: Path) -> None:
    path = save(tmp_path / "m.pt", storage(crc=CRC ^ 5))
    assert list(checksum_of(path).fields) == fields_of(path, CRC ^ 5)
    pickled = Record("archive/data.pkl", PICKLE, crc=1)
    path.write_bytes(build_zip(pickled, storage()))
    assert list(checksum_of(path).fields) == fields_of(path, CRC)


def test_archives_after_other_bytes_are_read(tmp_path: Path) -> None:
    path = save(tmp_path / "m.pt", storage())
    plain = checksum_of(path)
    content = build_zip(Record("archive/data.pkl", PICKLE), storage())
    # zipfile adds the size of what stands before the archive to all offsets.
    prefix = build_zip(Record("archive/", b""))[: 30 + len("archive/")]
    path.write_bytes(prefix + content)
    moved = checksum_of(path)
    assert moved.start == plain.start + len(prefix)
    assert moved.fields == tuple(field + len(prefix) for field in plain.fields)


@pytest.mark.parametrize("flags", [1, 1 << 6, 1 << 13])
def test_encrypted_records_have_no_place(tmp_path: Path, flags: int) -> None:
    contents = read_contents(save(tmp_path / "m.pt", storage(flags=flags)))
    assert [tensor.place for tensor in contents.tensors] == [None]
    assert contents.checksums == ()


def test_a_name_of_two_records_has_no_place(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(build_zip(Record("archive/data.pkl", PICKLE), storage(), storage()))
    assert [tensor.place for tensor in read_contents(path).tensors] == [None]


def error_of(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read_contents(path)
    assert caught.value.path == path
    return caught.value.reason


def test_overlapping_records_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    inner = build_zip(Record("archive/data/1", VALUES))
    inside = len(build_zip(Record("archive/data.pkl", PICKLE))) - 22 - 46 - len("archive/data.pkl")
    inside += 30 + len("archive/data/0")
    outer = Record("archive/data/0", inner)
    nested = Record("archive/data/1", VALUES, offset=inside)
    path.write_bytes(build_zip(Record("archive/data.pkl", PICKLE), outer, nested))
    assert error_of(path) == "the records 'archive/data/0' and 'archive/data/1' overlap"
    path.write_bytes(
        build_zip(Record("archive/data.pkl", PICKLE), storage(), Record("x", b"", offset=0))
    )
    assert "overlap" in error_of(path)


def test_records_beyond_the_archive_are_rejected(tmp_path: Path) -> None:
    path = save(tmp_path / "m.pt", storage(size=41))
    assert error_of(path) == (
        "the record 'archive/data/0' reaches beyond the records of the archive"
    )
    path = save(tmp_path / "m.pt", storage(offset=10_000))
    assert error_of(path) == "no record begins at the offset of 'archive/data/0'"
