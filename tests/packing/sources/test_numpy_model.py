"""numpy files that are restored whole, with numpy as their reader."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vggq
from tests.packing.sources.restoring import (
    assert_loaded,
    check_restored,
    random_array,
    read_kept,
)
from tests.packing.sources.zips import Record, build_zip
from vggq.errors import SourceError
from vggq.packing import is_current, pack, verify_against
from vggq.packing.options import Options
from vggq.packing.sources import ReadOptions, open_source
from vggq.packing.sources._stored_copy import REMARK

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RNG = np.random.default_rng(4)
W: NDArray[Any] = RNG.standard_normal((60, 40)).astype(np.float32)
RECORDS = np.zeros(3, [("a", "<f4"), ("b", "<i2")])
FORTRAN = "its elements are in Fortran order in the file"
BIG = "its byte order is big-endian"
UNSUPPORTED: dict[str, tuple[Any, str]] = {
    "fortran": (np.asfortranarray(W), FORTRAN),
    "big": (W.astype(">f4"), BIG),
    "big half": (W.astype(">f2"), BIG),
    "objects": (np.array([None, 1], object), "the dtype object is not supported"),
    "records": (RECORDS, f"the dtype {RECORDS.dtype} is not supported"),
    "text": (np.array(["a", "bc"]), "the dtype <U2 is not supported"),
    "dates": (np.array(["2026-01-01"], "M8[D]"), "the dtype datetime64[D] is not supported"),
    "bfloat16": (W.astype(ml_dtypes.bfloat16), "the file states only |V2 as its dtype"),
}
DTYPES = ["<f4", "<f8", "<f2", ">f4", "<i8", "|u1", "|b1", "<c8", ">i2", "<U3"]


def npy_bytes(array: NDArray[Any], *, version: tuple[int, int] | None = None) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, array, version)
    return content.getvalue()


def load_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an archive whose checksums are right; objects are left out."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    with np.load(path, allow_pickle=False) as opened:
        return {name: opened[name] for name in opened.files if name != "objects"}


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_restored_npy_opens_in_numpy(tmp_path: Path, version: tuple[int, int]) -> None:
    source = tmp_path / "w.npy"
    source.write_bytes(npy_bytes(W, version=version))
    restored = check_restored(source, tmp_path / "out", bits=6)
    assert restored.quantized == {"w"}
    found = np.load(restored.path, allow_pickle=False)
    assert_loaded(found, restored.values["w"])
    assert 0 < np.linalg.norm(found - W) < 0.03 * np.linalg.norm(W)
    mapped = np.load(restored.path, mmap_mode="r")
    assert_loaded(mapped, restored.values["w"])


@pytest.mark.parametrize("label", UNSUPPORTED)
def test_npy_that_is_not_plain_is_kept_exactly(tmp_path: Path, label: str) -> None:
    array, problem = UNSUPPORTED[label]
    source = tmp_path / "w.npy"
    np.save(source, array)
    restored = check_restored(source, tmp_path / "out")
    assert restored.values == {}
    assert restored.kept["w"].startswith(problem)
    assert restored.path.read_bytes() == source.read_bytes()
    (remark,) = restored.packed.remarks
    assert problem in remark


@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 0, 2), (1, 40, 1), (40, 1)])
def test_arrays_in_both_orders_are_plain(tmp_path: Path, shape: tuple[int, ...]) -> None:
    source = tmp_path / "w.npy"
    array = random_array(RNG, shape, np.float32)
    header = npy_bytes(array).replace(b"'fortran_order': False", b"'fortran_order': True ")
    source.write_bytes(header)
    restored = check_restored(source, tmp_path / "out")
    assert restored.kept == {}
    assert_loaded(np.load(restored.path), restored.values["w"])


def test_restored_npz_opens_in_numpy(tmp_path: Path) -> None:
    source = tmp_path / "m.npz"
    arrays: dict[str, Any] = {label: array for label, (array, _) in UNSUPPORTED.items()}
    np.savez(source, w=W, half=W.astype(np.float16), steps=np.array(3), none=W[:0], **arrays)
    restored = check_restored(source, tmp_path / "out", bits=6)
    assert restored.quantized == {"w", "half"}
    assert restored.kept.keys() == UNSUPPORTED.keys()
    found = load_npz(restored.path)
    for name, values in restored.values.items():
        assert_loaded(found[name], values)
    assert found.keys() == {"w", "half", "steps", "none", *UNSUPPORTED} - {"objects"}
    for label, (array, _) in UNSUPPORTED.items():
        if label in found:
            assert found[label].dtype == (array.dtype if label != "bfloat16" else "V2")
            assert found[label].tobytes() == array.tobytes()
    (remark,) = restored.packed.remarks
    assert "of the model" in remark
    assert FORTRAN in remark


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    arrays=st.dictionaries(
        st.from_regex(r"[a-cé/]{1,3}(\.npy)?", fullmatch=True),
        st.tuples(
            st.lists(st.integers(0, 9), max_size=3).map(tuple),
            st.sampled_from(DTYPES),
            st.sampled_from("CF"),
        ),
        max_size=5,
    ),
    is_compressed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_random_archives_are_restored(
    tmp_path_factory: pytest.TempPathFactory, arrays: Any, *, is_compressed: bool, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("random")
    rng = np.random.default_rng(seed)
    state = {
        name: np.array(random_array(rng, shape, dtype), order=order)
        for name, (shape, dtype, order) in arrays.items()
    }
    source = folder / "m.npz"
    save: Any = np.savez_compressed if is_compressed else np.savez
    save(source, **state)
    rewritten = is_compressed and bool(state)
    restored = check_restored(source, folder / "out", rewritten=rewritten)
    assert restored.packed.remarks[:1] == ((REMARK,) if rewritten else ()) or not rewritten
    found = load_npz(restored.path)
    original = load_npz(source)
    assert found.keys() == original.keys()
    for name, array in original.items():
        key = name.removesuffix(".npy") if name not in restored.values else name
        if key in restored.quantized:
            assert_loaded(found[name], restored.values[key])
        else:
            assert found[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_archive_is_restored_without_compression(tmp_path: Path, method: int) -> None:
    source = tmp_path / "m.npz"
    with zipfile.ZipFile(source, "w", method) as archive:
        archive.comment = b"from a test"
        archive.writestr("w.npy", npy_bytes(W))
        archive.writestr("é.txt", b"text" * 99)
        archive.writestr(zipfile.ZipInfo("empty/"), b"")
    restored = check_restored(source, tmp_path / "out", rewritten=True)
    assert restored.packed.remarks == (REMARK,)
    assert restored.quantized == {"w"}
    assert_loaded(load_npz(restored.path)["w"], restored.values["w"])
    with zipfile.ZipFile(restored.path) as archive, zipfile.ZipFile(source) as original:
        assert archive.comment == b"from a test"
        assert archive.read("é.txt") == b"text" * 99
        for copy, info in zip(archive.infolist(), original.infolist(), strict=True):
            assert copy.compress_type == zipfile.ZIP_STORED
            for name in ("filename", "date_time", "file_size", "external_attr"):
                assert getattr(copy, name) == getattr(info, name)
    assert not list(tmp_path.glob("vggq-*"))


def test_compressed_archive_is_verified_and_reused(tmp_path: Path) -> None:
    source = tmp_path / "m.npz"
    np.savez_compressed(source, w=W)
    packed = pack(source, tmp_path / "m.vggq", bits=4, restore="model")
    assert is_current(packed.target, source, Options(bits=4, restore="model"))
    with vggq.open(packed.target) as weights:
        verify_against(weights, source)


def test_archive_of_other_compressed_records_is_kept_as_it_is(tmp_path: Path) -> None:
    source = tmp_path / "m.npz"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("w.npy", npy_bytes(W))
        archive.writestr("notes.txt", b"text" * 99, zipfile.ZIP_DEFLATED)
    restored = check_restored(source, tmp_path / "out")
    assert restored.quantized == {"w"}
    assert restored.packed.remarks == ()


def test_archives_that_would_expand_are_kept_exactly(tmp_path: Path) -> None:
    source = tmp_path / "m.npz"
    arrays: dict[str, Any] = {str(index): np.zeros(1 << 20, np.float32) for index in range(20)}
    np.savez_compressed(source, **arrays)
    kept = read_kept(source)
    assert kept == dict.fromkeys(arrays, "no range of the file holds exactly its values")


@pytest.mark.parametrize("kind", ["descriptor", "zip64 descriptor", "no descriptor"])
def test_checksums_of_any_kind_are_replaced(tmp_path: Path, kind: str) -> None:
    formats = {"descriptor": "<3L", "zip64 descriptor": "<LQQ", "no descriptor": ""}
    source = tmp_path / "m.npz"
    record = Record("w.npy", npy_bytes(W), descriptor=formats[kind])
    source.write_bytes(build_zip(record))
    restored = check_restored(source, tmp_path / "out")
    assert restored.quantized == {"w"}
    assert_loaded(load_npz(restored.path)["w"], restored.values["w"])


def test_zip64_archive_is_restored(tmp_path: Path) -> None:
    source = tmp_path / "m.npz"
    with (
        zipfile.ZipFile(source, "w") as archive,
        archive.open("w.npy", "w", force_zip64=True) as record,
    ):
        record.write(npy_bytes(W))
    restored = check_restored(source, tmp_path / "out")
    assert restored.quantized == {"w"}
    assert_loaded(load_npz(restored.path)["w"], restored.values["w"])


def test_arrays_with_one_name_are_told_apart(tmp_path: Path) -> None:
    source = tmp_path / "m.npz"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("w", npy_bytes(W))
        archive.writestr("w.npy", npy_bytes(W + 1))
    restored = check_restored(source, tmp_path / "out")
    assert restored.quantized == {"w", "w#2"}


def test_checkpoint_in_an_archive_is_kept_exactly(tmp_path: Path) -> None:
    source = tmp_path / "m.npz"
    inner = io.BytesIO()
    np.savez(inner, w=W)
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("w.npy", npy_bytes(W))
        archive.writestr("inner.npz", inner.getvalue())
    restored = check_restored(source, tmp_path / "out")
    assert set(restored.kept) == {"inner.npz"}
    with zipfile.ZipFile(restored.path) as archive:
        assert archive.read("inner.npz") == inner.getvalue()


def test_damaged_records_are_errors(tmp_path: Path) -> None:
    source = tmp_path / "m.npz"
    np.savez_compressed(source, w=W)
    content = bytearray(source.read_bytes())
    content[len(content) // 2] ^= 0xFF
    source.write_bytes(content)
    with (
        pytest.raises(SourceError, match=r"cannot be copied without compression") as caught,
        open_source(source, ReadOptions(restore="model")),
    ):
        pass
    assert caught.value.path == source


def test_full_temporary_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "m.npz"
    np.savez_compressed(source, w=W)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(SourceError, match="cannot be copied to a temporary folder: No such file"):
        pack(source, tmp_path / "m.vggq", restore="model")
    assert not (tmp_path / "m.vggq").exists()
