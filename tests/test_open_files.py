"""Packed files that somebody has opened already."""

from __future__ import annotations

import gzip
import io
import mmap
import tempfile
import zipfile
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from vggq import _threads, errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]


def assert_same(restored: Arrays, expected: Arrays) -> None:
    assert list(restored) == list(expected)
    for name, array in expected.items():
        assert restored[name].dtype == array.dtype
        assert restored[name].tobytes() == array.tobytes()


def buffered(path: Path) -> IO[bytes]:
    return path.open("rb")


def unbuffered(path: Path) -> IO[bytes]:
    return path.open("rb", buffering=0)


def in_memory(path: Path) -> IO[bytes]:
    return io.BytesIO(path.read_bytes())


def spooled(path: Path) -> Any:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115 - the test closes it
    file.write(path.read_bytes())
    return file


def compressed(path: Path) -> Any:
    path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes()))
    return gzip.GzipFile(path.with_suffix(".gz"))


def mapped(path: Path) -> Any:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


@pytest.mark.parametrize("opened", [buffered, unbuffered, in_memory, spooled, compressed, mapped])
@pytest.mark.parametrize("threads", [1, 8])
def test_a_file_of_any_kind_is_read_and_left_open(
    packed: Path, opened: Callable[[Path], Any], threads: int
) -> None:
    with opened(packed) as file:
        file.seek(7)
        assert_same(vggq.load(file, threads=threads), vggq.load(packed))
        assert not file.closed
        assert_same(vggq.load(file, threads=threads), vggq.load(packed))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("read_before", [0, 9])
def test_a_member_of_a_zip_archive(packed: Path, method: int, read_before: int) -> None:
    archive = packed.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w", method) as file:
        file.write(packed, "w.vggq")
    with zipfile.ZipFile(archive) as file, file.open("w.vggq") as member:
        member.read(read_before)
        with vggq.open(member) as weights:
            assert repr(weights) == "<vggq.Weights of w.vggq: 5 tensors>"
            assert_same(dict(weights), vggq.load(packed))
        assert not member.closed
        assert_same(vggq.load(member, threads=8), vggq.load(packed))


def test_a_damaged_member_of_a_zip_archive(packed: Path) -> None:
    archive = packed.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        file.write(packed, "w.vggq")
    archive.write_bytes(archive.read_bytes().replace(b"float", b"fl0at").replace(b"conv", b"c0nv"))
    with zipfile.ZipFile(archive) as file, file.open("w.vggq") as member:
        with pytest.raises(errors.PackedFileError, match=r"^w\.vggq cannot be read: Bad CRC-32"):
            vggq.load(member)
        assert not member.closed


class Slow(io.BytesIO):
    """A file that gives three bytes at a time, and that notes what is done while it reads."""

    inside = 0
    most = 0

    def read(self, size: int | None = -1) -> bytes:
        self.inside += 1
        self.most = max(self.most, self.inside)
        data = super().read(3 if size is None or size < 0 else min(size, 3))
        self.inside -= 1
        return data


def test_short_reads_from_many_threads(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threads, "_LARGE", 0)
    file = Slow(packed.read_bytes())
    for threads in (1, 2, 8):
        assert_same(vggq.load(file, threads=threads), vggq.load(packed))
    assert file.most == 1


def test_closing_the_weights_leaves_the_file_and_ends_the_look_ups(packed: Path) -> None:
    with packed.open("rb") as file:
        weights = vggq.open(file)
        weights.close()
        with pytest.raises(errors.ClosedError) as caught:
            weights["steps"]
        assert str(caught.value) == f"{packed} was closed"
        assert not file.closed
        weights = vggq.open(file)
    with pytest.raises(errors.ClosedError):
        weights["steps"]


def test_a_broken_file_is_named_and_left_open() -> None:
    file = io.BytesIO(b"\0" * 20)
    with pytest.raises(errors.HeaderError, match=r"<BytesIO> is not a sound \.vggq file"):
        vggq.open(file)
    assert not file.closed


class Pipe(io.BytesIO):
    """A file without offsets."""

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation("underlying stream is not seekable")


def test_files_that_cannot_be_read(packed: Path) -> None:
    with packed.open("rb") as file:
        pass
    with pytest.raises(errors.PackedFileError, match="cannot be read: seek of closed file"):
        vggq.load(file)
    with pytest.raises(errors.PackedFileError, match=r"<Pipe> cannot be read: .* not seekable"):
        vggq.load(Pipe())
    text: Any = io.StringIO("text")
    with pytest.raises(errors.PackedFileError, match="<StringIO> is open as text: open it in"):
        vggq.load(text)


def test_an_error_while_reading_is_a_packed_file_error(packed: Path) -> None:
    file = Slow(packed.read_bytes())
    with vggq.open(file) as weights:

        def fail(size: int | None = -1) -> bytes:
            raise io.UnsupportedOperation("not today")

        file.read = fail  # type: ignore[method-assign]
        with pytest.raises(errors.PackedFileError, match="<Slow> cannot be read: not today"):
            weights["steps"]


def test_a_file_written_to_is_read_as_it_is(packed: Path) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(packed.read_bytes())
        restored = vggq.load(file)
    np.testing.assert_equal(restored, vggq.load(packed))
