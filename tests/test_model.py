"""Restoring the files of a model: `read_bytes`, `as_file` and `Weights.members`."""

from __future__ import annotations

import atexit
import errno
import os
import pickle
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vggq
from vggq import _huge_pages, _restore
from vggq._dtypes import STORAGE, convert
from vggq._restore import ModelReader
from vggq._weights import underlying_file
from vggq.errors import DataError, LimitError, OptionError, PackedFileError, TargetError

from .packed_models import PackedModel, assemble, codebook, grid, raw, small_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from .packed_models import Stored


def read_all(data: bytes, **options: Any) -> dict[str, bytes]:
    """Return the files that `as_file` writes."""
    with vggq.as_file(data, **options) as path:
        with vggq.open(data) as weights:
            main = weights.manifest.model.main if weights.manifest.model else ""
        root = path if main == "." else Path(str(path).removesuffix(main.replace("/", os.sep)))
        files = [file for file in root.rglob("*") if file.is_file()]
        return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


def stream_all(data: bytes) -> dict[str, bytes]:
    """Return the files as `ModelReader` reads them."""
    with vggq.open(data) as weights:
        model = weights.manifest.model
        assert model is not None
        reader = ModelReader(underlying_file(weights), model)
        return {member.path: b"".join(reader.pieces(member)) for member in model.members}


@pytest.mark.parametrize("threads", [1, 2, 8, None])
def test_files_of_a_model_are_restored(threads: int | None) -> None:
    model = small_model()
    data = model.build()
    contents = model.contents()
    for path, content in contents.items():
        assert vggq.read_bytes(data, member=path, threads=threads) == content
    assert read_all(data, threads=threads) == contents
    assert stream_all(data) == contents


def test_arrays_have_the_values_of_the_files() -> None:
    model = small_model()
    data = model.build()
    stored = {tensor.info.name: tensor.info for tensor in model.tensors}
    for dtype in (None, "float64"):
        arrays = vggq.load(data, dtype=dtype)
        for path, parts in model.members.items():
            content, offset = vggq.read_bytes(data, member=path), 0
            for part in parts:
                if isinstance(part, bytes):
                    offset += len(part)
                    continue
                info = stored[part]
                kind = STORAGE[info.source_dtype]
                values = np.frombuffer(content, kind, info.count, offset)
                expected = convert(values, info.source_dtype)
                np.testing.assert_array_equal(arrays[part].astype(expected.dtype), expected)
                offset += values.nbytes


@pytest.mark.parametrize("name", ["half", "half grid", "brain", "brain grid", "e4m3", "e5m2 grid"])
def test_arrays_of_narrow_dtypes_are_those_of_the_files(name: str) -> None:
    """The values are rounded to the source's dtype first, whatever dtype they get then."""
    data = small_model().build()
    exact = vggq.load(data)[name]
    assert vggq.open(data)[name].tobytes() == exact.tobytes()
    for dtype in ("float16", "bfloat16", "float64", "source"):
        found = vggq.load(data, dtype=dtype)[name]
        again = vggq.load(data, out={k: np.empty_like(v) for k, v in vggq.load(data).items()})
        assert again[name].tobytes() == exact.tobytes()
        if dtype in {"float64", "source"}:
            np.testing.assert_array_equal(found.astype(np.float32), exact)


@st.composite
def tensors(draw: st.DrawFn, name: str) -> Stored:
    dtype = draw(st.sampled_from(["F32", "F16", "BF16", "F64", "F8_E4M3", "F8_E5M2"]))
    kind = draw(st.sampled_from([raw, codebook, grid]))
    count = draw(st.integers(1, 40))
    if kind is raw:
        size = count * STORAGE[dtype].itemsize
        return raw(name, dtype, draw(st.binary(min_size=size, max_size=size)))
    if kind is codebook:
        floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
        centroids = draw(st.lists(floats, min_size=1, max_size=20))
        codes = st.integers(0, len(centroids) - 1)
        return codebook(
            name, dtype, centroids, draw(st.lists(codes, min_size=count, max_size=count))
        )
    levels = draw(st.lists(st.integers(-127, 127), min_size=count, max_size=count))
    return grid(name, dtype, draw(st.floats(2**-20, 2**17, width=32)), levels)


@st.composite
def models(draw: st.DrawFn) -> PackedModel:
    """Draw files that consist of any bytes and tensors, in any order."""
    names = [f"t{number}" for number in range(draw(st.integers(0, 5)))]
    stored = [draw(tensors(name)) for name in names]
    rest = draw(st.lists(st.binary(min_size=1), max_size=6))
    parts: list[bytes | str] = draw(st.permutations([*names, *rest]))
    cuts = sorted(draw(st.lists(st.integers(0, len(parts)), max_size=3)))
    ranges = zip([0, *cuts], [*cuts, len(parts)], strict=True)
    members = {f"f{n}": parts[begin:end] for n, (begin, end) in enumerate(ranges)}
    main = draw(st.sampled_from([*members, "."]))
    return PackedModel(members, stored, main, draw(st.sampled_from([1, 3, 50, 1 << 23])))


@settings(deadline=None, max_examples=60)
@given(models())
def test_any_model_is_restored(model: PackedModel) -> None:
    data = model.build()
    contents = model.contents()
    for path, content in contents.items():
        assert vggq.read_bytes(data, member=path) == content
    assert stream_all(data) == contents
    assert read_all(data) == contents


def large_model(weights: int = 1_500_001) -> PackedModel:
    """Return a file of eight large tensors, none of which is aligned, and of a rest of 9 MB."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, weights, np.uint8)
    centroids = rng.standard_normal(256).tolist()
    stored = [
        codebook("book", "F32", centroids, codes.tolist()),
        grid("grid", "F32", 0.1, (codes // 2).tolist()),
        raw("raw", "F32", rng.bytes(4 * weights)),
        codebook("half", "F16", centroids, codes.tolist()),
        grid("half grid", "F16", 0.1, (codes // 2).tolist()),
        grid("brain grid", "BF16", 0.1, (codes // 2).tolist()),
        codebook("pairs", "F64", centroids, codes.tolist()),
        codebook("nibbles", "F32", centroids[:16], (codes // 16).tolist()),
    ]
    parts: list[bytes | str] = [rng.bytes(9_000_001)]
    for tensor in stored:
        parts += [tensor.info.name, b"abc"]
    return PackedModel({"m.onnx": parts}, stored)


@pytest.fixture(scope="module")
def large() -> tuple[bytes, bytes]:
    """Return a large packed model, and its only file."""
    model = large_model()
    return model.build(), model.contents()["m.onnx"]


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_large_tensors_of_any_alignment_are_restored(
    large: tuple[bytes, bytes], threads: int
) -> None:
    data, content = large
    assert vggq.read_bytes(data, threads=threads) == content
    assert read_all(data, threads=threads) == {"m.onnx": content}


def peak_of(function: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_read_bytes_makes_no_second_copy(large: tuple[bytes, bytes], tmp_path: Path) -> None:
    """The result is 47 MB; the largest temporary array is one of float32 for bfloat16, of 6 MB."""
    data, content = large
    path = tmp_path / "m.vggq"
    path.write_bytes(data)
    peak = peak_of(lambda: vggq.read_bytes(path, threads=1))
    assert len(content) < peak < len(content) + 20_000_000


def test_as_file_takes_the_memory_of_the_largest_tensor(
    large: tuple[bytes, bytes], tmp_path: Path, temporary: Path
) -> None:
    """The largest tensor has 12 MB, a block of the rest 8 MiB."""
    path = tmp_path / "m.vggq"
    path.write_bytes(large[0])

    def restore() -> None:
        with vggq.as_file(path, threads=1):
            pass

    assert peak_of(restore) < 36_000_000


def test_several_threads_do_not_take_more_memory_than_the_limit(
    monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    monkeypatch.setattr(_restore, "_MAX_KEPT", 0)
    monkeypatch.setattr(_restore, "_MAX_TAKEN", 5_000_000)
    stored = [raw(f"t{n}", "U8", bytes(4_000_000)) for n in range(8)]
    data = PackedModel({"m": [s.info.name for s in stored]}, stored).build()

    def restore() -> None:
        with vggq.as_file(data, threads=8):
            pass

    assert 4_000_000 < peak_of(restore) < 6_000_000


def test_large_memory_gets_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    ctypes = pytest.importorskip("ctypes")
    calls: list[tuple[int, int, int]] = []

    class Library:
        def __init__(self, name: None) -> None:
            pass

        def madvise(self, begin: Any, size: Any, advice: int) -> None:
            calls.append((begin.value, size.value, advice))

    monkeypatch.setattr(ctypes, "CDLL", Library)
    monkeypatch.setattr(sys, "platform", "linux")
    memory = memoryview(bytearray(9_000_000))
    address = np.frombuffer(memory, np.uint8).ctypes.data
    _huge_pages.advise_huge_pages(memory[:4_000_000])
    assert not calls
    _huge_pages.advise_huge_pages(memory)
    ((begin, size, _),) = calls
    assert begin % 4096 == size % 4096 == 0
    assert address <= begin < address + 65536
    assert address + 9_000_000 - 65536 < begin + size <= address + 9_000_000


def test_system_without_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = memoryview(bytearray(9_000_000))
    monkeypatch.setattr(sys, "platform", "darwin")
    _huge_pages.advise_huge_pages(memory)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setitem(sys.modules, "ctypes", None)
    _huge_pages.advise_huge_pages(memory)


def test_main_file_is_below_a_private_folder_during_the_block(temporary: Path) -> None:
    with vggq.as_file(small_model().build()) as path:
        assert path.is_absolute()
        assert path.name == "net.onnx"
        (made,) = temporary.iterdir()
        assert path.parent == made
        if os.name == "posix":
            assert stat.S_IMODE(made.stat().st_mode) == 0o700
        assert (made / "data" / "net.bin").is_file()
    assert not list(temporary.iterdir())


def test_main_file_may_be_in_a_folder_of_its_own(temporary: Path) -> None:
    model = small_model()
    model.main = "data/net.bin"
    with vggq.as_file(model.build()) as path:
        assert path.parts[-2:] == ("data", "net.bin")
        assert path.read_bytes() == model.contents()["data/net.bin"]


def test_model_that_is_a_folder(temporary: Path) -> None:
    model = small_model()
    model.main = "."
    with vggq.as_file(model.build()) as path:
        assert path.parent == temporary
        names = {file.name for file in path.iterdir()}
    assert names == {"net.onnx", "data", "empty.txt", "größe.json"}


def test_empty_folders_are_created(temporary: Path) -> None:
    model = small_model()
    model.main, model.folders = ".", ("logs/old", "größe")
    with vggq.as_file(model.build()) as path:
        folders = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_dir()}
        assert folders == {"data", "logs", "logs/old", "größe"}
        assert not list((path / "logs" / "old").iterdir())
    assert not list(temporary.iterdir())


def test_folder_is_removed_when_the_block_raises(temporary: Path) -> None:
    with pytest.raises(ZeroDivisionError), vggq.as_file(small_model().build()):
        raise ZeroDivisionError
    assert not list(temporary.iterdir())


def test_error_of_the_block_is_not_one_of_the_temporary_folder(temporary: Path) -> None:
    with pytest.raises(OSError, match="mine") as caught, vggq.as_file(small_model().build()):
        raise OSError(errno.ENOSPC, "mine")
    assert type(caught.value) is OSError


def test_other_folder_for_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    with vggq.as_file(small_model().build(), dir="other") as path:
        assert path.is_relative_to(tmp_path / "other")
        monkeypatch.chdir(tmp_path / "other")
    assert not list((tmp_path / "other").iterdir())


def damaged(model: PackedModel, entry: int) -> bytes:
    """Return a packed model with a wrong byte in the middle of an entry."""
    manifest, frames = model.parts()
    frame = bytearray(frames[entry])
    frame[-1] ^= 1
    frames[entry] = bytes(frame)
    return assemble(manifest, frames)


@pytest.mark.parametrize("threads", [1, 4])
def test_nothing_is_left_of_a_damaged_model(
    temporary: Path, large: tuple[bytes, bytes], threads: int
) -> None:
    data = bytearray(large[0])
    data[-1] ^= 1
    for restore in (vggq.read_bytes, lambda *args, **kw: vggq.as_file(*args, **kw).__enter__()):
        with pytest.raises(DataError, match="entry 9, a block of the rest: the zstd frame"):
            restore(bytes(data), threads=threads)
    assert not list(temporary.iterdir())


def test_damaged_tensor_is_named(temporary: Path) -> None:
    data = damaged(small_model(), 2)
    with pytest.raises(DataError, match="bytes>: tensor 'grid': the zstd frame is damaged"):
        vggq.read_bytes(data, member="net.onnx")
    with pytest.raises(DataError, match="tensor 'grid'"), vggq.as_file(data):
        pass
    assert not list(temporary.iterdir())
    # A file without the damaged tensor can be read.
    assert vggq.read_bytes(data, member="größe.json") == b"{}" * 10


def test_sha256_is_not_computed() -> None:
    model = small_model()
    manifest, frames = model.parts()
    assert manifest.model is not None
    members = tuple(replace(member, sha256="0" * 64) for member in manifest.model.members)
    changed = replace(manifest, model=replace(manifest.model, members=members))
    assert read_all(assemble(changed, frames)) == model.contents()


WHEREVER = "give another folder as `dir`, or restore a single file with `vggq.read_bytes`"


def test_full_disk(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_ = Path.open

    def open_full(path: Path, mode: str = "r") -> Any:
        file = open_(path, mode)
        if mode == "r+b":
            os.close(file.fileno())
            os.dup2(os.open("/dev/full", os.O_WRONLY), file.fileno())
        return file

    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    monkeypatch.setattr(Path, "open", open_full)
    message = (
        f"{temporary}: the temporary folder cannot be written: No space left on device; {WHEREVER}"
    )
    with pytest.raises(TargetError) as caught, vggq.as_file(small_model().build()):
        pass
    assert str(caught.value) == message
    assert not list(temporary.iterdir())


def test_missing_or_read_only_temporary_folder(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = small_model().build()
    with (
        pytest.raises(TargetError, match=f"cannot be written: No such file or.*; {WHEREVER}"),
        vggq.as_file(data, dir=tmp_path / "missing"),
    ):
        pass

    def fail(*args: object, **options: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", fail)
    with pytest.raises(TargetError, match="Permission denied; give another"), vggq.as_file(data):
        pass


def refuse(*args: object, **options: object) -> None:
    raise PermissionError(errno.EACCES, "used by another process")


def test_open_file_does_not_hide_the_error_of_the_block(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows does not remove files that are open; they are removed at the end instead."""
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    with monkeypatch.context() as locked:
        locked.setattr(os, "unlink", refuse)
        locked.setattr(os, "rmdir", refuse)
        with pytest.raises(ZeroDivisionError), vggq.as_file(small_model().build()):
            raise ZeroDivisionError
        with vggq.as_file(small_model().build()):
            pass
    assert len(list(temporary.iterdir())) == len(at_exit) == 2
    for remove in at_exit:
        remove()
    assert not list(temporary.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_forked_process_does_not_remove_the_files_of_its_parent(tmp_path: Path) -> None:
    """The child leaves the block with an error."""
    (tmp_path / "m.vggq").write_bytes(small_model().build())
    code = (
        "import os, sys, vggq\n"
        f"with vggq.as_file({str(tmp_path / 'm.vggq')!r}) as path:\n"
        "    if not (child := os.fork()):\n"
        "        sys.exit(path.is_file())\n"
        "    status = os.waitpid(child, 0)[1]\n"
        "    print(os.waitstatus_to_exitcode(status), path.is_file())\n"
        "print(path.exists())\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1", "True", "False"]


def test_packed_file_is_closed_during_the_block(tmp_path: Path) -> None:
    path = tmp_path / "m.vggq"
    path.write_bytes(small_model().build())
    with vggq.as_file(path) as main:
        path.unlink()
        assert main.is_file()


def test_model_in_a_package_that_is_imported_from_a_zip_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model()
    with zipfile.ZipFile(tmp_path / "site.zip", "w") as archive:
        archive.writestr("zipped_model/__init__.py", "")
        archive.writestr("zipped_model/m.vggq", model.build())
    monkeypatch.syspath_prepend(tmp_path / "site.zip")
    expected = model.contents()
    assert vggq.read_bytes("zipped_model", "m.vggq", member="empty.txt") == b""
    assert vggq.read_bytes("zipped_model", "m.vggq", member="net.onnx") == expected["net.onnx"]
    with vggq.as_file("zipped_model", "m.vggq") as path:
        assert path.read_bytes() == expected["net.onnx"]


def test_file_without_a_model(packed: Path) -> None:
    message = (
        f"{packed}: holds only tensors, which `vggq.load` restores; to restore a model, pack it "
        'with `restore = "model"`'
    )
    with pytest.raises(PackedFileError) as caught:
        vggq.read_bytes(packed)
    assert str(caught.value) == message
    with pytest.raises(PackedFileError), vggq.as_file(packed):
        pass
    with vggq.open(packed) as weights:
        assert weights.members == ()


def test_member_has_to_be_given_and_known() -> None:
    data = small_model().build()
    listed = "expected one of 'net.onnx', 'data/net.bin', 'empty.txt', 'größe.json'"
    with pytest.raises(OptionError) as caught:
        vggq.read_bytes(data)
    assert str(caught.value) == f"member: the model has several files; {listed}"
    with pytest.raises(OptionError) as caught:
        vggq.read_bytes(data, member="net.bin")
    assert str(caught.value) == f"member: no file is named 'net.bin'; {listed}"
    many = PackedModel({f"f{n:02}": [] for n in range(23)}).build()
    with pytest.raises(OptionError, match=r"'f18', 'f19' and 3 more$"):
        vggq.read_bytes(many)


def test_only_member_need_not_be_given() -> None:
    assert vggq.read_bytes(PackedModel({"a": [b"x"]}, main=".").build()) == b"x"
    assert vggq.read_bytes(PackedModel({"a": []}).build()) == b""


def test_invalid_number_of_threads(temporary: Path) -> None:
    data = large_model(300_000).build()
    with pytest.raises(OptionError, match="threads: expected an integer"):
        vggq.read_bytes(data, threads="2")  # type: ignore[arg-type]
    with pytest.raises(OptionError), vggq.as_file(data, threads="2"):  # type: ignore[arg-type]
        pass
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("parent", [3, "a\0b", ["folder"]])
def test_invalid_parent_of_the_temporary_folder(parent: Any) -> None:
    expected = re.escape(f"dir: expected the path of a folder, found {parent!r}")
    with (
        pytest.raises(OptionError, match=expected),
        vggq.as_file(small_model().build(), dir=parent),
    ):
        pass


def test_model_without_tensors_is_restored(temporary: Path) -> None:
    data = PackedModel({"m": [b"graph"]}).build()
    assert read_all(data, max_bytes=5) == {"m": b"graph"}
    with vggq.as_file(data, max_bytes=5) as path:
        assert path.read_bytes() == b"graph"
    assert not list(temporary.iterdir())


def test_max_bytes_limits_the_files_of_the_model(temporary: Path) -> None:
    model = small_model()
    data = model.build()
    needed = sum(map(len, model.contents().values()))
    assert read_all(data, max_bytes=needed) == model.contents()
    message = f"bytes>: its model needs {needed} bytes of memory, max_bytes is {needed - 1}"
    with pytest.raises(LimitError, match=message):
        vggq.read_bytes(data, member="empty.txt", max_bytes=needed - 1)
    with pytest.raises(LimitError, match=message), vggq.as_file(data, max_bytes=needed - 1):
        pass
    assert not list(temporary.iterdir())


def test_max_bytes_limits_the_content_of_a_tensor() -> None:
    """A codebook can be larger than the weights that use it."""
    stored = codebook("w", "F32", [0.0] * 256, [255])
    data = PackedModel({"m": ["w"]}, [stored]).build()
    assert vggq.read_bytes(data, max_bytes=1025) == bytes(4)
    with pytest.raises(LimitError, match="needs 1025 bytes of memory, max_bytes is 1024"):
        vggq.read_bytes(data, max_bytes=1024)


def test_file_that_a_32_bit_system_cannot_address(monkeypatch: pytest.MonkeyPatch) -> None:
    data = PackedModel({"m": [b"12345"], "n": [b"123"]}).build()
    monkeypatch.setattr(sys, "maxsize", 4)
    with pytest.raises(
        LimitError,
        match="a file or tensor of its model needs 5 bytes of memory, this system can address 4",
    ):
        vggq.read_bytes(data, member="n")
    monkeypatch.setattr(sys, "maxsize", 5)
    assert vggq.read_bytes(data, member="n") == b"123"
    data = PackedModel({"m": ["w"]}, [codebook("w", "F32", [0.0, 1.0], [1])]).build()
    with pytest.raises(LimitError, match="a file or tensor of its model needs 9 bytes"):
        vggq.read_bytes(data)


def test_weights_list_the_members() -> None:
    model = small_model()
    with vggq.open(model.build()) as weights:
        contents = model.contents()
        assert {member.path: member.size for member in weights.members} == {
            path: len(content) for path, content in contents.items()
        }
        again = pickle.loads(pickle.dumps(weights))
        assert again.members == weights.members
        assert again.manifest == weights.manifest


def test_interrupted_block_of_a_generator_removes_the_folder(temporary: Path) -> None:
    context = vggq.as_file(small_model().build())
    context.__enter__()
    assert list(temporary.iterdir())
    del context
    assert not list(temporary.iterdir())


def test_folder_that_the_block_has_removed(temporary: Path) -> None:
    with vggq.as_file(small_model().build()) as path:
        shutil.rmtree(path.parent)
    assert not list(temporary.iterdir())
