"""Reading a file at offsets from several threads, and the errors of reading."""

from __future__ import annotations

import io
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import vggq
from vggq import _positional, errors
from vggq._reader import Reader

from .helpers import assert_same_arrays

if TYPE_CHECKING:
    from pathlib import Path

DATA = bytes(range(256)) * 40


class SlowFile(io.BytesIO):
    """A file that returns three bytes at a time, and records how many reads overlap."""

    inside = 0
    overlapping = 0

    def read(self, size: int | None = -1) -> bytes:
        self.inside += 1
        self.overlapping = max(self.overlapping, self.inside)
        # Lets another thread run.
        time.sleep(0)
        data = super().read(3 if size is None or size < 0 else min(size, 3))
        self.inside -= 1
        return data


def test_reads_of_several_threads_from_one_file_do_not_overlap() -> None:
    file = SlowFile(DATA)
    reader = Reader(file, "slow", owned=False)
    offsets = list(range(0, len(DATA), 97))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda offset: reader.read_at(offset, 50), offsets))
    assert found == [DATA[offset : offset + 50] for offset in offsets]
    assert file.overlapping == 1


@pytest.mark.parametrize("owned", [False, True])
def test_read_into_returns_the_part_that_was_filled(tmp_path: Path, *, owned: bool) -> None:
    path = tmp_path / "data"
    path.write_bytes(DATA)
    with path.open("rb") as file:
        reader = Reader(file, path, owned=owned)
        out = memoryview(bytearray(100))
        assert reader.read_into(7, out) == DATA[7:107]
        assert reader.read_into(len(DATA) - 9, out) == DATA[-9:]
        assert reader.read_at(len(DATA) - 9, 100) == DATA[-9:]


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="the system has no preadv")
def test_system_that_reads_fewer_bytes_than_requested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    path.write_bytes(DATA)
    pread, preadv = os.pread, os.preadv
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: pread(fd, min(size, 3), offset))
    monkeypatch.setattr(os, "preadv", lambda fd, parts, offset: preadv(fd, [parts[0][:3]], offset))
    reader = Reader(path.open("rb"), path)
    assert reader.read_at(7, 100) == DATA[7:107]
    assert reader.read_at(len(DATA) - 9, 100) == DATA[-9:]
    assert reader.read_into(7, memoryview(bytearray(100))) == DATA[7:107]
    reader.close()


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="the system has no preadv")
def test_one_call_of_the_system_reads_less_than_2_gib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is smaller here; macOS refuses larger reads."""
    assert _positional._MAX_READ < 1 << 31
    monkeypatch.setattr(_positional, "_MAX_READ", 7)
    path = tmp_path / "data"
    path.write_bytes(DATA)
    pread, preadv = os.pread, os.preadv
    sizes = []

    def record_pread(descriptor: int, size: int, offset: int) -> bytes:
        sizes.append(size)
        return pread(descriptor, size, offset)

    def record_preadv(descriptor: int, parts: list[memoryview], offset: int) -> int:
        sizes.extend(map(len, parts))
        return preadv(descriptor, parts, offset)

    monkeypatch.setattr(os, "pread", record_pread)
    monkeypatch.setattr(os, "preadv", record_preadv)
    reader = Reader(path.open("rb"), path)
    assert reader.read_at(7, 100) == DATA[7:107]
    assert reader.read_into(7, memoryview(bytearray(100))) == DATA[7:107]
    assert max(sizes) == 7
    reader.close()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_path_that_cannot_seek_is_closed(tmp_path: Path) -> None:
    """If the file were left open, its ResourceWarning would fail the test."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR)
    try:
        with pytest.raises(errors.PackedFileError, match=f"^{path}: cannot be opened: .*seek"):
            vggq.open(path)
    finally:
        os.close(descriptor)


class OtherBuffers(io.BytesIO):
    """A file that gives bytearray, and more than was asked for."""

    def read(self, size: int | None = -1) -> Any:
        del size
        return bytearray(super().read())


def test_file_that_gives_more_than_requested(packed: Path) -> None:
    found = vggq.load(OtherBuffers(packed.read_bytes()))
    assert_same_arrays(found, vggq.load(packed))


def test_reads_after_the_file_is_closed_raise_closed_error(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(DATA)
    reader = Reader(path.open("rb"), path)
    reader.close()
    for read in (lambda: reader.read_at(0, 1), lambda: reader.read_into(0, memoryview(b""))):
        with pytest.raises(errors.ClosedError) as caught:
            read()
        assert str(caught.value) == f"{path}: the file is closed"
        assert caught.value.path == path


def test_file_that_fails_while_tensors_are_read(packed: Path) -> None:
    file = SlowFile(packed.read_bytes())
    with vggq.open(file) as weights:

        def fail(size: int | None = -1) -> bytes:
            raise io.UnsupportedOperation("not today")

        file.read = fail  # type: ignore[method-assign]
        with pytest.raises(errors.PackedFileError, match="<SlowFile>: cannot be read: not today"):
            weights["steps"]


class FailingFile(io.BytesIO):
    """A file whose reads raise an error; for a MemoryError, so does `tell`."""

    def __init__(self, error: Exception) -> None:
        super().__init__(bytes(100))
        self.error = error

    def read(self, size: int | None = -1) -> bytes:
        del size
        raise self.error

    def tell(self) -> int:
        if isinstance(self.error, MemoryError):
            raise self.error
        return super().tell()


def test_errors_of_a_file_become_packed_file_errors() -> None:
    with pytest.raises(errors.PackedFileError, match="<FailingFile>: cannot be read: failed"):
        vggq.open(FailingFile(RuntimeError("failed")))


def test_memory_errors_are_not_translated() -> None:
    with pytest.raises(MemoryError):
        vggq.open(FailingFile(MemoryError()))


def test_file_that_shrinks_while_it_is_open(packed: Path) -> None:
    with vggq.open(packed) as weights:
        with packed.open("r+b") as file:
            file.truncate(weights.size - 3)
        with pytest.raises(errors.DataError, match=r"state\.vggq: tensor 'steps': "):
            weights["steps"]
