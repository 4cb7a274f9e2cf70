"""Opening and loading packed files, from wherever they lie."""

from __future__ import annotations

import concurrent.futures
import io
import lzma
import os
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from vggq import _load, _threads, _weights, errors
from vggq._reader import Reader

if TYPE_CHECKING:
    import types
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]


def assert_near(restored: Mapping[str, NDArray[Any]], state: State) -> None:
    assert list(restored) == sorted(state)
    for name, array in restored.items():
        expected = state[name]
        assert array.shape == expected.shape
        assert array.dtype == (np.float32 if expected.dtype.kind == "f" else expected.dtype)
        assert array.flags.writeable
        np.testing.assert_allclose(array, expected, atol=0.05 if expected.ndim == 2 else 0)


@pytest.fixture
def package(tmp_path: Path, packed: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    folder = tmp_path / "site" / "pkg_with_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "w.vggq").write_bytes(packed.read_bytes())
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.delitem(sys.modules, "pkg_with_weights", raising=False)
    return __import__("pkg_with_weights")


def test_load_from_a_path(packed: Path, state: State) -> None:
    assert_near(vggq.load(packed), state)
    assert_near(vggq.load(str(packed)), state)


def test_load_from_bytes(packed: Path, state: State) -> None:
    data = packed.read_bytes()
    for form in (data, bytearray(data), memoryview(data)):
        assert_near(vggq.load(form), state)


def test_load_from_a_package(package: types.ModuleType, state: State) -> None:
    assert_near(vggq.load("pkg_with_weights", "w.vggq"), state)
    assert_near(vggq.load(package, "w.vggq"), state)
    assert_near(vggq.load(resources.files(package) / "w.vggq"), state)


def test_load_from_a_package_in_a_zip_file(
    tmp_path: Path, packed: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "zipped.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zipped_weights/__init__.py", "")
        file.write(packed, "zipped_weights/w.vggq")
    monkeypatch.syspath_prepend(archive)
    assert_near(vggq.load("zipped_weights", "w.vggq"), state)
    assert_near(vggq.load(resources.files("zipped_weights") / "w.vggq"), state)
    with pytest.raises(errors.PackedFileError) as caught:
        vggq.load("zipped_weights", "gone.vggq")
    assert str(caught.value) == (
        "'gone.vggq' of the package 'zipped_weights' is not there; was the wheel built without "
        "its build hooks?"
    )
    monkeypatch.delitem(sys.modules, "zipped_weights")


def test_load_from_a_namespace_package(
    tmp_path: Path, packed: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "space" / "ns_of_weights" / "inner"
    folder.mkdir(parents=True)
    (folder / "w.vggq").write_bytes(packed.read_bytes())
    monkeypatch.syspath_prepend(tmp_path / "space")
    assert_near(vggq.load("ns_of_weights.inner", "w.vggq"), state)
    assert_near(vggq.load("ns_of_weights", "inner/w.vggq"), state)


def test_what_is_missing_is_named(package: types.ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "no.vggq"
    named = "'no.vggq' of the package 'pkg_with_weights'"
    way_out = "; was the wheel built without its build hooks?"
    for call, expected in (
        ((path,), f"{path} is not there"),
        (("pkg_with_weights", "no.vggq"), f"{named} is not there{way_out}"),
        ((package, "no.vggq"), f"{named} is not there{way_out}"),
    ):
        with pytest.raises(errors.PackedFileError) as caught:
            vggq.load(*call)
        assert str(caught.value) == expected


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(errors.PackedFileError, match="cannot be opened: Is a directory"):
        vggq.load(tmp_path)
    with pytest.raises(errors.PackedFileError, match="'w' of the package 'no_such': No module"):
        vggq.load("no_such", "w")
    with pytest.raises(errors.PackedFileError, match=r"'w' of the package 'json\.decoder'"):
        vggq.load("json.decoder", "w")


@pytest.mark.parametrize("path", ["a\0b", "\ud800"])
def test_a_path_that_none_can_be(path: str) -> None:
    with pytest.raises(errors.PackedFileError, match=r"cannot be opened: .*(null|encode)"):
        vggq.open(path)


def test_a_git_lfs_pointer(tmp_path: Path) -> None:
    path = tmp_path / "m.vggq"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(errors.HeaderError, match="file: it is a Git LFS pointer: run `git lfs pu"):
        vggq.open(path)


def test_what_is_nothing_to_read_from() -> None:
    with pytest.raises(errors.PackedFileError, match="None is no path, bytes, traversable or bin"):
        vggq.load(None)  # type: ignore[arg-type]


def test_a_damaged_member_of_a_zipped_package(
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


def test_a_damaged_compressed_file(tmp_path: Path, packed: Path, state: State) -> None:
    path = tmp_path / "w.xz"
    path.write_bytes(lzma.compress(packed.read_bytes()))
    with lzma.open(path) as file:
        assert_near(vggq.load(file), state)
    path.write_bytes(path.read_bytes()[:60] + b"damage" + path.read_bytes()[66:])
    with lzma.open(path) as file, pytest.raises(errors.PackedFileError, match="cannot be read: "):
        vggq.load(file)


class Torn(io.BytesIO):
    """A file that can be measured, and not read: for the reason it is made with."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(bytes(100))
        self.reason = reason

    def read(self, size: int | None = -1) -> bytes:
        del size
        raise self.reason

    def tell(self) -> int:
        if isinstance(self.reason, MemoryError):
            raise self.reason
        return super().tell()


def test_whatever_a_file_raises() -> None:
    with pytest.raises(errors.PackedFileError, match="<Torn> cannot be read: torn"):
        vggq.open(Torn(RuntimeError("torn")))
    with pytest.raises(MemoryError):
        vggq.open(Torn(MemoryError()))


def test_open_tells_without_decoding(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    read_at = Reader.read_at

    def counted(self: Reader, offset: int, size: int) -> bytes:
        reads.append(size)
        return read_at(self, offset, size)

    monkeypatch.setattr(Reader, "read_at", counted)
    with vggq.open(packed) as weights:
        of_header = len(reads)
        assert list(weights) == ["conv.bias", "conv.weight", "half.weight", "mask", "steps"]
        assert len(weights) == 5
        assert "conv.bias" in weights
        assert "nope" not in weights
        assert weights.tensors["half.weight"].shape == (40, 30)
        assert weights.tensors["half.weight"].source_dtype == "F16"
        assert weights.tensors["half.weight"].dtype == np.float32
        assert weights.tensors["mask"].dtype == bool
        assert repr(weights) == f"<vggq.Weights of {packed}: 5 tensors>"
        assert weights.size == packed.stat().st_size
        assert len(reads) == of_header
        assert weights["steps"] == 7
        assert reads[of_header:] == [weights.stored_size("steps")]


def test_each_look_up_is_fresh(packed: Path) -> None:
    with vggq.open(packed) as weights:
        first = weights["conv.weight"]
        kept = first.copy()
        first[:] = 0
        np.testing.assert_array_equal(weights["conv.weight"], kept)


def test_an_unknown_tensor(packed: Path) -> None:
    with vggq.open(packed) as weights:
        with pytest.raises(errors.UnknownTensorError) as caught:
            weights["a'b"]
        assert isinstance(caught.value, KeyError)
        assert str(caught.value) == f'{packed} has no tensor "a\'b"'
        with pytest.raises(errors.UnknownTensorError):
            weights.stored_size("nope")
        assert weights.get("nope") is None


def test_a_closed_file(packed: Path) -> None:
    with vggq.open(packed) as weights:
        array = weights["conv.bias"]
    weights.close()
    with pytest.raises(errors.ClosedError) as caught:
        weights["conv.bias"]
    assert isinstance(caught.value, ValueError)
    assert str(caught.value) == f"{packed} was closed"
    assert array.shape == (40,)
    assert "conv.bias" in weights


def test_a_broken_file_is_closed_and_named(tmp_path: Path) -> None:
    """Were it left open, the ResourceWarning would fail this test."""
    path = tmp_path / "broken.vggq"
    path.write_bytes(b"\0" * 20)
    with pytest.raises(errors.HeaderError) as caught:
        vggq.open(path)
    assert str(caught.value).startswith(f"{path} is not a sound .vggq file: not valid JSON")


def test_threads_share_an_open_file(packed: Path) -> None:
    expected = vggq.load(packed)
    with vggq.open(packed) as weights, ThreadPoolExecutor(8) as pool:
        names = [name for name in weights for _ in range(40)]
        for name, array in zip(names, pool.map(weights.__getitem__, names), strict=True):
            np.testing.assert_array_equal(array, expected[name])


@pytest.mark.parametrize("threads", [None, 1, 2, 8])
def test_the_arrays_do_not_depend_on_threads(
    packed: Path, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_threads, "_LARGE", 0)
    expected = vggq.load(packed, threads=1)
    restored = vggq.load(packed, threads=threads)
    assert list(restored) == list(expected)
    for name, array in restored.items():
        assert array.flags.writeable
        assert array.tobytes() == expected[name].tobytes()


def test_processors_where_the_system_tells_of_no_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= _threads.available() <= (os.cpu_count() or 1)
    monkeypatch.setattr(sys, "platform", "darwin")
    for counted, expected in ((8, 8), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda counted=counted: counted)
        assert _threads.available() == expected


def test_large_tensors_are_begun_from_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    class Recording(ThreadPoolExecutor):
        def submit(self, function: Any, place: Any, /) -> Any:  # type: ignore[override]
            begun.append(place)
            return super().submit(function, place)

    monkeypatch.setattr(concurrent.futures, "ThreadPoolExecutor", Recording)
    monkeypatch.setattr(_threads, "_LARGE", 10)
    counts = [5, 20, 40, 10, 30, 9]
    assert list(_threads.map_threaded(str, range(6), counts, 2)) == list("012345")
    assert begun == [2, 4, 1, 3]


def test_an_error_in_a_thread_is_the_callers(packed: Path) -> None:
    data = bytearray(packed.read_bytes())
    data[-1] ^= 1
    with pytest.raises(errors.DataError, match="tensor 'steps': "):
        vggq.load(bytes(data), threads=4)


def test_a_file_that_shrinks_while_it_is_open(packed: Path) -> None:
    with vggq.open(packed) as weights:
        with packed.open("r+b") as file:
            file.truncate(weights.size - 3)
        with pytest.raises(errors.DataError, match="tensor 'steps': "):
            weights["steps"]


def test_load_reads_from_the_public_names() -> None:
    assert vggq.load is _load.load
    assert vggq.open is _weights.open
