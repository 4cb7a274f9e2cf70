"""Everything that a packed file can be read from: paths, packages, bytes and open files."""

from __future__ import annotations

import gzip
import io
import lzma
import mmap
import sys
import tempfile
import zipfile
from importlib import resources
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from vggq import errors

from .helpers import assert_same_arrays

if TYPE_CHECKING:
    import types
    from collections.abc import Callable

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

HINT = "; was the wheel built without packing the model?"


@pytest.fixture
def expected(packed: Path) -> Arrays:
    """Return the tensors of `packed`, as read from its path."""
    return vggq.load(packed)


@pytest.fixture
def package(tmp_path: Path, packed: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Return a package that contains the packed file as w.vggq."""
    folder = tmp_path / "site" / "pkg_with_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "w.vggq").write_bytes(packed.read_bytes())
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.delitem(sys.modules, "pkg_with_weights", raising=False)
    return __import__("pkg_with_weights")


# Paths and bytes


def test_load_from_a_path_as_text(packed: Path, expected: Arrays) -> None:
    assert_same_arrays(vggq.load(str(packed)), expected)


@pytest.mark.skipif(sys.platform == "win32", reason="the current folder cannot be removed")
@pytest.mark.parametrize("form", [str, Path])
def test_absolute_paths_need_no_current_folder(
    packed: Path,
    expected: Arrays,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    form: Callable[[Path], Any],
) -> None:
    folder = tmp_path_factory.mktemp("gone")
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert_same_arrays(vggq.load(form(packed.absolute())), expected)


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
def test_load_from_bytes(packed: Path, expected: Arrays, form: Callable[[bytes], Any]) -> None:
    assert_same_arrays(vggq.load(form(packed.read_bytes())), expected)


def test_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "no.vggq"
    with pytest.raises(errors.PackedFileError) as caught:
        vggq.load(path)
    assert str(caught.value) == f"{path}: no such file"
    assert caught.value.path == path


def test_directory_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(errors.PackedFileError, match="cannot be opened: Is a directory"):
        vggq.load(tmp_path)


@pytest.mark.parametrize("path", ["a\0b", "\ud800"])
def test_path_that_no_system_accepts_cannot_be_opened(path: str) -> None:
    with pytest.raises(errors.PackedFileError, match=r"cannot be opened: .*(null|encode)"):
        vggq.open(path)


def test_git_lfs_pointer_is_recognized(tmp_path: Path) -> None:
    path = tmp_path / "m.vggq"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(errors.HeaderError, match=r"file: a Git LFS pointer; run `git lfs pull`"):
        vggq.open(path)


def test_other_types_are_rejected() -> None:
    expected = "^expected a path, bytes, a traversable or a binary file, found NoneType$"
    with pytest.raises(errors.PackedFileError, match=expected):
        vggq.load(None)  # type: ignore[arg-type]


# Packages


def test_load_from_a_package(package: types.ModuleType, expected: Arrays) -> None:
    assert_same_arrays(vggq.load("pkg_with_weights", "w.vggq"), expected)
    assert_same_arrays(vggq.load(package, "w.vggq"), expected)
    assert_same_arrays(vggq.load(resources.files(package) / "w.vggq"), expected)


def test_missing_resource_is_named_with_a_hint(package: types.ModuleType) -> None:
    for anchor in ("pkg_with_weights", package):
        with pytest.raises(errors.PackedFileError) as caught:
            vggq.load(anchor, "no.vggq")
        assert str(caught.value) == f"'no.vggq' in package 'pkg_with_weights': no such file{HINT}"


def test_missing_package_is_named() -> None:
    with pytest.raises(errors.PackedFileError) as caught:
        vggq.load("no_such", "w")
    assert str(caught.value).startswith("'w' in package 'no_such': cannot be opened: ")


def test_module_that_is_no_package() -> None:
    """From Python 3.12 on, a module stands for the package that contains it."""
    expected = r"^'w' in package 'json\.decoder': (cannot be opened: .|no such file)"
    with pytest.raises(errors.PackedFileError, match=expected):
        vggq.load("json.decoder", "w")


def test_load_from_a_package_in_a_zip_file(
    tmp_path: Path, packed: Path, expected: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "zipped.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zipped_weights/__init__.py", "")
        file.write(packed, "zipped_weights/w.vggq")
    monkeypatch.syspath_prepend(archive)
    assert_same_arrays(vggq.load("zipped_weights", "w.vggq"), expected)
    assert_same_arrays(vggq.load(resources.files("zipped_weights") / "w.vggq"), expected)
    with pytest.raises(errors.PackedFileError) as caught:
        vggq.load("zipped_weights", "gone.vggq")
    assert str(caught.value) == f"'gone.vggq' in package 'zipped_weights': no such file{HINT}"
    monkeypatch.delitem(sys.modules, "zipped_weights")


def test_damaged_zip_file_of_a_package(
    tmp_path: Path, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "damaged.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("damaged_weights/__init__.py", "")
        file.write(packed, "damaged_weights/w.vggq")
    data = bytearray(archive.read_bytes())
    data[data.index(packed.read_bytes()) + 100] ^= 1
    archive.write_bytes(data)
    monkeypatch.syspath_prepend(archive)
    with pytest.raises(errors.PackedFileError, match="cannot be opened: Bad CRC-32"):
        vggq.load("damaged_weights", "w.vggq")
    monkeypatch.delitem(sys.modules, "damaged_weights")


def test_load_from_a_namespace_package(
    tmp_path: Path, packed: Path, expected: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "space" / "ns_of_weights" / "inner"
    folder.mkdir(parents=True)
    (folder / "w.vggq").write_bytes(packed.read_bytes())
    monkeypatch.syspath_prepend(tmp_path / "space")
    assert_same_arrays(vggq.load("ns_of_weights.inner", "w.vggq"), expected)
    assert_same_arrays(vggq.load("ns_of_weights", "inner/w.vggq"), expected)


# Open files


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


@pytest.mark.parametrize(
    "open_file", [buffered, unbuffered, in_memory, spooled, compressed, mapped]
)
@pytest.mark.parametrize("threads", [1, 8])
def test_load_from_an_open_file_of_any_kind_leaves_it_open(
    packed: Path, expected: Arrays, open_file: Callable[[Path], Any], threads: int
) -> None:
    with open_file(packed) as file:
        file.seek(7)
        assert_same_arrays(vggq.load(file, threads=threads), expected)
        assert not file.closed
        assert_same_arrays(vggq.load(file, threads=threads), expected)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("read_before", [0, 9])
def test_load_from_a_member_of_a_zip_archive(
    packed: Path, expected: Arrays, method: int, read_before: int
) -> None:
    archive = packed.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w", method) as file:
        file.write(packed, "w.vggq")
    with zipfile.ZipFile(archive) as file, file.open("w.vggq") as member:
        member.read(read_before)
        with vggq.open(member) as weights:
            assert repr(weights) == "<vggq.Weights of w.vggq: 5 tensors>"
            assert_same_arrays(dict(weights), expected)
        assert not member.closed
        assert_same_arrays(vggq.load(member, threads=8), expected)


def test_damaged_member_of_a_zip_archive(packed: Path) -> None:
    archive = packed.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        file.write(packed, "w.vggq")
    archive.write_bytes(archive.read_bytes().replace(b"float", b"fl0at").replace(b"conv", b"c0nv"))
    with zipfile.ZipFile(archive) as file, file.open("w.vggq") as member:
        with pytest.raises(errors.PackedFileError, match=r"^w\.vggq: cannot be read: Bad CRC-32"):
            vggq.load(member)
        assert not member.closed


def test_damaged_compressed_file(tmp_path: Path, packed: Path, expected: Arrays) -> None:
    path = tmp_path / "w.xz"
    path.write_bytes(lzma.compress(packed.read_bytes()))
    with lzma.open(path) as file:
        assert_same_arrays(vggq.load(file), expected)
    path.write_bytes(path.read_bytes()[:60] + b"damage" + path.read_bytes()[66:])
    with lzma.open(path) as file, pytest.raises(errors.PackedFileError, match="cannot be read: "):
        vggq.load(file)


def test_closing_the_weights_leaves_the_file_open(packed: Path) -> None:
    with packed.open("rb") as file:
        weights = vggq.open(file)
        weights.close()
        with pytest.raises(errors.ClosedError) as caught:
            weights["steps"]
        assert str(caught.value) == f"{packed}: the file is closed"
        assert not file.closed
        weights = vggq.open(file)
    with pytest.raises(errors.ClosedError):
        weights["steps"]


def test_invalid_file_is_named_and_left_open() -> None:
    file = io.BytesIO(b"\0" * 20)
    with pytest.raises(errors.HeaderError, match=r"^<BytesIO>: not a valid \.vggq file: "):
        vggq.open(file)
    assert not file.closed


class Pipe(io.BytesIO):
    """A file that cannot seek."""

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation("underlying stream is not seekable")


def test_file_that_cannot_seek() -> None:
    with pytest.raises(errors.PackedFileError, match=r"^<Pipe>: cannot be read: .* not seekable$"):
        vggq.load(Pipe())


def test_file_that_was_closed_before(packed: Path) -> None:
    with packed.open("rb") as file:
        pass
    with pytest.raises(errors.PackedFileError, match="cannot be read: seek of closed file"):
        vggq.load(file)


def test_file_in_text_mode() -> None:
    text: Any = io.StringIO("text")
    expected = "^<StringIO>: opened in text mode; open it in mode 'rb'$"
    with pytest.raises(errors.PackedFileError, match=expected):
        vggq.load(text)


def test_file_that_was_just_written(packed: Path, expected: Arrays) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(packed.read_bytes())
        restored = vggq.load(file)
    np.testing.assert_equal(restored, expected)
