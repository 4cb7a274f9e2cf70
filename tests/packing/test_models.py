"""Packed files that restore whole files, not only the tensors in them."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vggq
from tests.packed_models import assemble
from tests.packing.model_files import MAGIC, ModelFiles, restore_members
from vggq._dtypes import STORAGE, convert
from vggq._manifest_json import METADATA_KEY, manifest_to_metadata
from vggq._weights import underlying_file
from vggq.errors import DataError, OptionError, SourceError, VerificationError
from vggq.packing import compare, describe, is_current, pack, sweep, verify, verify_against
from vggq.packing.cli import main as run
from vggq.packing.model_layout import CHUNK_SIZE
from vggq.packing.options import Options
from vggq.packing.sources import Checksum, Place, open_source
from vggq.packing.sweeps import evaluate_original

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from vggq import Manifest
    from vggq.packing import Packed

DTYPES = ["F32", "F64", "F16", "BF16", "F8_E4M3", "F8_E5M2"]
ML = {"BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}


def in_dtype(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return values in the storage dtype of a tensor."""
    if dtype in ML:
        rounded: NDArray[Any] = values.astype(getattr(ml_dtypes, ML[dtype]))
        return rounded.view(STORAGE[dtype])
    return values.astype(STORAGE[dtype])


@pytest.fixture
def weights() -> NDArray[Any]:
    return np.random.default_rng(5).standard_normal((60, 50)).astype(np.float32)


@pytest.fixture
def files(tmp_path: Path, weights: NDArray[Any]) -> ModelFiles:
    """Return a model of two files with a tensor of each dtype, aliases and checksums."""
    files = ModelFiles(tmp_path / "source")
    header = files.add_bytes(b"header" + bytes(4))
    place = files.add_tensor("w", weights)
    files.add_alias("tied", weights, "F32", place)
    footer = files.add_bytes(b"footer" + bytes(8))
    files.add_checksum(place.start, place.size, (header + 6, footer + 6))
    for dtype in DTYPES:
        files.add_bytes(b"before " + dtype.encode())
        files.add_tensor(f"of.{dtype}", in_dtype(weights, dtype), dtype)
    files.add_tensor("count", np.arange(7), "I64", "parts/m.data")
    files.add_tensor("empty", np.zeros((0, 3)), "F32", "parts/m.data")
    files.add_tensor("far", weights[::-1] * 3, "F32", "parts/m.data")
    files.add_bytes(b"", "empty.txt")
    return files


@pytest.fixture
def main(files: ModelFiles, monkeypatch: pytest.MonkeyPatch) -> Path:
    return files.save(monkeypatch)


def pack_model(main: Path, **options: Any) -> Packed:
    return pack(main, main.parent.parent / "m.vggq", **options)


def test_model_with_everything_kept_is_restored_byte_for_byte(
    files: ModelFiles, main: Path
) -> None:
    packed = pack_model(main, keep=["*"])
    assert restore_members(packed.target) == files.saved()


@pytest.mark.parametrize(
    "goal",
    [{"bits": 8}, {"bits": 1}, {"sqnr": 41.0}, {"sqnr": 90.0}, {"size": "30 kB"}],
    ids=str,
)
def test_restored_files_differ_in_quantized_tensors_and_checksums_only(
    files: ModelFiles, main: Path, goal: dict[str, Any]
) -> None:
    packed = pack_model(main, **goal)
    members = restore_members(packed.target)
    infos = {info.name: info for info in packed.manifest.tensors}
    loaded = vggq.load(packed.target)
    for tensor in files.tensors:
        place = tensor.place
        assert place is not None
        path = list(files.contents)[place.member]
        content = members[path][place.start : place.start + place.size]
        stored = np.frombuffer(content, STORAGE[tensor.dtype]).reshape(tensor.shape)
        # What is loaded is what the restored file holds, bit for bit.
        assert convert(stored, tensor.dtype).tobytes() == loaded[tensor.name].tobytes()
        if not infos[tensor.name].quantized:
            assert content == tensor.read().tobytes()
    crc = zlib.crc32(files.slice(members, files.tensors[0].place)).to_bytes(4, "little")
    for field in files.checksums[0].fields:
        assert members["m.blob"][field : field + 4] == crc
    assert files.outside_tensors(members) == files.outside_tensors(files.saved())


@pytest.mark.parametrize("sqnr", [5.0, 20.0, 41.0, 60.0, 75.0, 120.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sqnr_holds_for_the_values_in_the_restored_file(
    tmp_path: Path,
    weights: NDArray[Any],
    dtype: str,
    sqnr: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = ModelFiles(tmp_path / "source")
    stored = in_dtype(weights, dtype)
    files.add_tensor("w", stored, dtype)
    main = files.save(monkeypatch)
    packed = pack_model(main, sqnr=sqnr)
    (content,) = restore_members(packed.target).values()
    restored = as_float64(np.frombuffer(content[-stored.nbytes :], stored.dtype), dtype)
    exact = as_float64(stored.reshape(-1), dtype)
    noise = np.square(exact - restored).sum()
    assert noise == 0 or 10 * np.log10(np.square(exact).sum() / noise) >= sqnr
    (info,) = packed.manifest.tensors
    assert info.noise == pytest.approx(noise, rel=1e-8)


def as_float64(stored: NDArray[Any], dtype: str) -> NDArray[np.float64]:
    if dtype in ML:
        stored = stored.view(getattr(ml_dtypes, ML[dtype]))
    return stored.astype(np.float64)


@pytest.mark.parametrize("dtype", ["F16", "F8_E4M3"])
def test_tensor_whose_dtype_is_too_coarse_is_stored_exactly(
    tmp_path: Path, weights: NDArray[Any], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ModelFiles(tmp_path / "source")
    files.add_tensor("w", in_dtype(weights, dtype), dtype)
    packed = pack_model(files.save(monkeypatch), sqnr=110)
    assert packed.manifest.worst is None


def test_bits_of_float8_never_take_more_bytes_than_the_exact_values(
    tmp_path: Path, weights: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ModelFiles(tmp_path / "source")
    files.add_tensor("w", np.resize(in_dtype(weights, "F8_E4M3"), (300, 300)), "F8_E4M3")
    main = files.save(monkeypatch)
    exact = pack_model(main, keep=["*"]).size
    assert pack_model(main, bits=8).size <= exact


def test_aliases_share_an_entry_and_the_most_exact_options(main: Path) -> None:
    packed = pack_model(main, bits=3, keep=["tied"])
    infos = {info.name: info for info in packed.manifest.tensors}
    assert not infos["w"].quantized
    assert infos["w"].entry == infos["tied"].entry
    packed = pack_model(main, bits=3, tensors=[{"match": "tied", "bits": 8}])
    infos = {info.name: info for info in packed.manifest.tensors}
    assert infos["w"].sqnr == infos["tied"].sqnr > 40 > infos["of.F32"].sqnr
    packed = pack_model(main, size="30 kB", importance={"tied": 1000.0})
    infos = {info.name: info for info in packed.manifest.tensors}
    assert infos["w"].sqnr == infos["tied"].sqnr > 20 + infos["of.F32"].sqnr


def test_size_is_the_maximum_of_the_whole_file(main: Path) -> None:
    for size in (25_000, 35_001):
        packed = pack_model(main, size=size)
        assert size * 0.97 < packed.size <= size
        assert packed.size == packed.target.stat().st_size


def test_pack_describes_how_much_of_a_model_is_weights(files: ModelFiles, main: Path) -> None:
    packed = pack_model(main)
    total = sum(map(len, files.saved().values()))
    assert packed.ratio == total / packed.size
    text = describe(packed.manifest, packed.size)
    assert text.startswith("model of 78.2 kB, 99.8 % of it weights, in "), text
    assert f"({packed.ratio:.2f}x)" in text
    assert packed.remarks == ()


def test_pack_names_what_is_in_a_large_rest(
    files: ModelFiles, weights: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    files.add_bytes(np.random.default_rng(2).bytes(30_000))
    main = files.save(monkeypatch)
    (remark,) = pack_model(main).remarks
    assert remark == (
        "28 % of the model (30.1 kB) is stored exactly, outside its tensors: graph and other data"
    )
    files.add_alias("big-endian", weights, "F32", None, "its byte order is big-endian")
    (remark,) = pack_model(main).remarks
    assert "'big-endian' (12.0 kB: its byte order is big-endian), graph and other data" in remark


def test_booleans_that_are_neither_0_nor_1_stay_in_the_rest(
    files: ModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packed file cannot hold them as a tensor, and numpy does not define their values."""
    files.add_tensor("mask", np.array([1, 0, 2], np.uint8).view(np.bool_), "BOOL")
    main = files.save(monkeypatch)
    packed = pack_model(main, keep=["*"])
    assert restore_members(packed.target) == files.saved()
    assert "mask" not in vggq.load(packed.target)
    with pytest.raises(SourceError) as caught:
        pack_model(main, restore="tensors")
    assert str(caught.value) == f"{main}: tensor 'mask': a boolean is neither 0 nor 1"


@pytest.mark.parametrize("kind", ["overlap", "dtypes", "bytes", "outside", "size", "no place"])
def test_tensor_without_a_gap_stays_in_the_rest(
    files: ModelFiles, weights: NDArray[Any], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    start = files.add_bytes(weights.tobytes())
    place: Place | None = Place(0, start, weights.nbytes)
    other = weights
    kept = {"x"}
    if kind == "overlap":
        files.add_alias("y", weights[10:], "F32", Place(0, start + 2000, weights.nbytes - 2000))
        kept = {"x", "y"}
    elif kind == "dtypes":
        files.add_alias("y", weights.view(np.int32), "I32", place)
        kept = {"x", "y"}
    elif kind == "bytes":
        other = weights + 1
    elif kind == "outside":
        place = Place(0, start + 1, weights.nbytes)
    elif kind == "size":
        place = Place(0, start, weights.nbytes - 4)
    else:
        place = None
    files.add_alias("x", other, "F32", place)
    main = files.save(monkeypatch)
    packed = pack_model(main, bits=4, keep=["x"])
    assert {t.name for t in files.tensors} - {t.name for t in packed.manifest.tensors} == kept
    assert files.slice(restore_members(packed.target), Place(0, start, weights.nbytes)) == (
        weights.tobytes()
    )
    with vggq.open(packed.target) as opened:
        verify_against(opened, main)


def test_wrong_checksum_stays_wrong(files: ModelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    field, other = files.checksums[0].fields
    main = files.save(monkeypatch, {field: b"oops"})
    members = restore_members(pack_model(main).target)
    assert members["m.blob"][field : field + 4] == b"oops"
    crc = zlib.crc32(files.slice(members, files.tensors[0].place)).to_bytes(4, "little")
    assert members["m.blob"][other : other + 4] == crc


@pytest.mark.parametrize("where", ["in a tensor", "in a checksum", "at the end"])
def test_checksum_that_cannot_be_replaced_keeps_the_tensors_under_it(
    files: ModelFiles, weights: NDArray[Any], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    place = files.add_tensor("x", weights)
    first = next(t.place for t in files.tensors if t.name == "of.F32")
    assert first is not None
    size = len(files.contents["m.blob"])
    field = {"in a tensor": first.start, "in a checksum": place.start, "at the end": size - 2}
    files.checksums.append(Checksum(0, place.start, place.size, (field[where],)))
    main = files.save(monkeypatch)
    packed = pack_model(main, bits=4)
    left = {t.name for t in files.tensors} - {t.name for t in packed.manifest.tensors}
    assert left == ({"of.F32"} if where == "in a tensor" else {"x"})
    members = restore_members(packed.target)
    kept = first if where == "in a tensor" else place
    assert files.slice(members, kept) == weights.tobytes()


def test_verify_reports_each_tensor_once(main: Path) -> None:
    with vggq.open(pack_model(main).target) as opened:
        seen: list[str] = []
        verify(opened, seen.append)
        assert sorted(seen) == sorted(opened)
        seen.clear()
        verify_against(opened, main, seen.append)
        assert sorted(seen) == sorted(opened)


def test_verify_finds_a_file_with_another_digest(main: Path) -> None:
    packed = pack_model(main)
    record_other_digest(packed)
    with vggq.open(packed.target) as opened:
        with pytest.raises(DataError, match=r"the restored file 'm\.blob' does not have the SHA"):
            verify(opened)
        with pytest.raises(DataError):
            verify_against(opened, main)
    assert not is_current(packed.target, main, Options())


def record_other_digest(packed: Packed) -> None:
    """Replace the SHA-256 of the main file in a packed file."""
    model = packed.manifest.model
    assert model is not None
    text = manifest_to_metadata(packed.manifest)[METADATA_KEY]
    changed = text[64:].replace(model.members[0].sha256, "0" * 64)
    digest = hashlib.sha256(changed.encode()).hexdigest()
    content = packed.target.read_bytes().replace(text[:64].encode(), digest.encode())
    packed.target.write_bytes(content.replace(model.members[0].sha256.encode(), b"0" * 64))


def test_order_of_the_tensors_in_a_packed_file_does_not_matter(main: Path, tmp_path: Path) -> None:
    with vggq.open(pack_model(main).target) as opened:
        manifest = opened.manifest
        file = underlying_file(opened)
        frames = [bytes(file.frame(index)) for index in range(count_entries(manifest))]
    model = manifest.model
    assert model is not None
    last = len(manifest.tensors) - 1
    members = tuple(
        replace(
            member,
            pieces=tuple(
                piece if piece.tensor is None else replace(piece, tensor=last - piece.tensor)
                for piece in member.pieces
            ),
        )
        for member in model.members
    )
    changed = replace(
        manifest, tensors=manifest.tensors[::-1], model=replace(model, members=members)
    )
    (tmp_path / "other.vggq").write_bytes(assemble(changed, frames))
    with vggq.open(tmp_path / "other.vggq") as opened:
        verify(opened)
        verify_against(opened, main)


def count_entries(manifest: Manifest) -> int:
    """Return the number of entries of a packed model."""
    entries = {tensor.entry for tensor in manifest.tensors}
    assert manifest.model is not None
    return len(entries) + len(manifest.model.rest)


@pytest.mark.parametrize("changed", ["rest", "quantized", "exact", "other file"])
def test_verify_against_finds_every_difference(files: ModelFiles, main: Path, changed: str) -> None:
    packed = pack_model(main)
    place = next(t.place for t in files.tensors if t.name == "of.F32")
    assert place is not None
    path, offset = {
        "rest": ("m.blob", 10),
        "quantized": ("m.blob", place.start + 3),
        "exact": ("parts/m.data", 3),
        "other file": ("parts/m.data", 7 * 8 + 3),
    }[changed]
    source = files.folder / path
    content = bytearray(source.read_bytes())
    content[offset] ^= 64
    source.write_bytes(content)
    files.read_again()
    with vggq.open(packed.target) as opened, pytest.raises(VerificationError):
        verify_against(opened, main)


def test_packed_model_is_reused_until_anything_changes(files: ModelFiles, main: Path) -> None:
    target = pack_model(main).target
    assert is_current(target, main, Options())
    assert not is_current(target, main, Options(restore="model"))
    assert not is_current(target, main, Options(keep=["w"]))
    (files.folder / "empty.txt").write_bytes(b"x")
    assert not is_current(target, main, Options())


def test_restore_tensors_gives_a_file_without_a_model(main: Path) -> None:
    packed = pack_model(main, restore="tensors", drop=["of.*"])
    assert packed.manifest.model is None
    assert {info.stored_dtype for info in packed.manifest.tensors} == {"F32", "I64"}


@pytest.mark.parametrize(
    "option",
    [
        {"drop": ["w"]},
        {"rename": {"w": "v"}},
        {"key": "a"},
        {"layout": "torch"},
        {"dtypes": {"w": "bfloat16"}},
    ],
    ids=str,
)
def test_options_for_tensors_are_refused_if_the_default_restores_files(
    main: Path, option: dict[str, Any]
) -> None:
    with pytest.raises(OptionError) as caught:
        pack_model(main, **option)
    ((name, problem),) = caught.value.problems
    assert {name} == set(option)
    assert problem == (
        "does not apply with restore = 'model', the default for this file (restore = 'tensors' "
        "packs its tensors only): the whole file is restored"
    )


@pytest.mark.parametrize("path", ["../m.data", "con.data", "M.BLOB", "a:b"])
def test_files_that_other_systems_could_not_write_are_refused(
    files: ModelFiles, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    files.add_bytes(b"x", path)
    with (
        pytest.raises(SourceError),
        open_source(files.save(monkeypatch)),
    ):
        pass


def test_model_without_tensors_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ModelFiles(tmp_path / "source")
    files.add_bytes(b"only a graph" * 100)
    packed = pack_model(files.save(monkeypatch), size="10 kB")
    assert restore_members(packed.target) == files.saved()


def test_rest_is_cut_into_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ModelFiles(tmp_path / "source")
    for number in range(5):
        files.add_bytes(bytes(5_000_000), f"{number}.blob")
        files.add_tensor(f"t{number}", np.full((2, 2), number), "F32", f"{number}.blob")
    files.add_bytes(bytes(1), "last.blob")
    packed = pack_model(files.save(monkeypatch))
    model = packed.manifest.model
    assert model is not None
    assert [block.size for block in model.rest][:-1] == [1 << 23] * (len(model.rest) - 1)
    # Equal blocks have entries of their own.
    assert len({block.entry for block in model.rest}) == len(model.rest) > 2
    assert restore_members(packed.target) == files.saved()


def test_bytes_do_not_depend_on_the_number_of_threads(main: Path, tmp_path: Path) -> None:
    contents = {
        pack(main, tmp_path / f"{n}.vggq", threads=n).target.read_bytes() for n in (1, 2, 5)
    }
    assert len(contents) == 1


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_random_models_are_restored(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("model")
    files = ModelFiles(folder / "source")
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    for number in range(data.draw(st.integers(0, 6))):
        name = data.draw(st.sampled_from(["m.blob", "m.data"]))
        files.add_bytes(rng.bytes(data.draw(st.integers(0, 50))))
        before = files.add_bytes(bytes(4), name)
        dtype = data.draw(st.sampled_from(DTYPES))
        shape = data.draw(st.sampled_from([(40, 30), (3, 4), (1001, 2), (0, 2), ()]))
        values = in_dtype(rng.standard_normal(shape), dtype)
        place = files.add_tensor(f"t{number}", values, dtype, name)
        if data.draw(st.booleans()):
            files.add_checksum(place.start - 2, place.size + 2, (before - 0,), name)
    files.add_bytes(b"end")
    with monkeypatch.context() as patch:
        main = files.save(patch)
        exact = pack_model(main, keep=["*"] if files.tensors else ())
        assert restore_members(exact.target) == files.saved()
        packed = pack_model(main, bits=data.draw(st.sampled_from([1, 4, 8])))
        members = restore_members(packed.target)
        assert files.outside_tensors(members) == files.outside_tensors(files.saved())
        with vggq.open(packed.target) as opened:
            verify(opened)
            verify_against(opened, main)
        model = packed.manifest.model
        assert model is not None
        for member in model.members:
            assert hashlib.sha256(members[member.path]).hexdigest() == member.sha256


def test_sweep_evaluates_the_path_of_the_restored_model(files: ModelFiles, main: Path) -> None:
    seen: list[tuple[str, list[str], bytes]] = []

    def evaluate(path: Path) -> dict[str, float]:
        found = sorted(p.relative_to(path.parent).as_posix() for p in path.parent.rglob("*.*"))
        seen.append((path.name, found, path.read_bytes()))
        return {"size": path.stat().st_size}

    assert evaluate_original(evaluate, main, Options()) == {"size": main.stat().st_size}
    variants = [Options(keep=["*"]), Options(bits=1)]
    results = list(sweep(main, variants, evaluate=evaluate))
    original, exact, coarse = seen
    assert original == exact == (main.name, sorted(files.contents), main.read_bytes())
    assert coarse[:2] == exact[:2]
    assert coarse[2] != exact[2]
    assert len(coarse[2]) == len(exact[2])
    total = sum(map(len, files.saved().values()))
    assert [result.ratio for result in results] == [total / result.size for result in results]


def test_sweep_evaluates_the_state_dict_if_only_tensors_are_packed(main: Path) -> None:
    seen: list[object] = []

    def evaluate(state: object) -> dict[str, float]:
        seen.append(state)
        return {}

    options = Options(restore="tensors")
    evaluate_original(evaluate, main, options)
    list(sweep(main, [options], evaluate=evaluate))
    assert [type(state) for state in seen] == [dict, dict]


def test_compare_with_the_source_gives_the_recorded_errors(main: Path) -> None:
    packed = pack_model(main)
    infos = {info.name: info for info in packed.manifest.tensors}
    comparisons = compare(packed.target, main)
    assert {comparison.name for comparison in comparisons} == set(infos)
    for comparison in comparisons:
        info = infos[comparison.name]
        assert comparison.sqnr == pytest.approx(info.sqnr, abs=1e-3)
        assert comparison.same == (info.noise == 0)


def test_compare_ignores_tensors_that_stay_in_the_rest(
    files: ModelFiles, weights: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = files.add_tensor("x", weights)
    files.tensors.pop()
    files.add_alias("x", weights + 1, "F32", place)
    main = files.save(monkeypatch)
    names = [comparison.name for comparison in compare(pack_model(main).target, main)]
    assert "w" in names
    assert "x" not in names


def test_patterns_may_name_tensors_that_stay_in_the_rest(
    files: ModelFiles, weights: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    files.add_alias("x", weights, "F32", None)
    main = files.save(monkeypatch)
    pack_model(main, keep=["x"])
    pack_model(main, size="40 kB", importance={"x": 2.0})
    with pytest.raises(OptionError, match="the pattern 'y' matches no tensor"):
        pack_model(main, keep=["y"])


def test_command_line_packs_and_sweeps_models(
    files: ModelFiles,
    main: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / "m.vggq"
    run(["pack", str(main), str(target), "--json"])
    total = sum(map(len, files.saved().values()))
    assert json.loads(capsys.readouterr().out)["model_bytes"] == total
    run(["pack", str(main), str(target), "--restore", "tensors", "--json"])
    assert json.loads(capsys.readouterr().out)["model_bytes"] is None
    (tmp_path / "scores_of_models.py").write_text("def size(path): return path.stat().st_size\n")
    monkeypatch.syspath_prepend(tmp_path)
    run(["sweep", str(main), "--bits", "4", "--eval", "scores_of_models:size", "--json"])
    original, coarse = json.loads(capsys.readouterr().out)
    assert original["bytes"] == total
    assert original["scores"] == coarse["scores"] == {"size": main.stat().st_size}


def test_checksums_at_any_distance_from_chunks_and_tensors_are_right(
    tmp_path: Path, weights: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checksum may be cut by the chunks in which a file is read, and its range by a tensor."""
    files = ModelFiles(tmp_path / "source")
    files.add_bytes(bytes(CHUNK_SIZE - len(MAGIC) - 2))
    field = files.add_bytes(bytes(4))
    place = files.add_tensor("w", weights)
    later = files.add_bytes(bytes(4))
    files.add_checksum(place.start + 7, place.size - 100, (field, later))
    members = restore_members(pack_model(files.save(monkeypatch), bits=3).target)
    content = members["m.blob"]
    crc = zlib.crc32(content[place.start + 7 :][: place.size - 100]).to_bytes(4, "little")
    assert content[field : field + 4] == content[later : later + 4] == crc
    assert content[place.start :][: place.size] != weights.tobytes()
    assert field % CHUNK_SIZE == CHUNK_SIZE - 2


def test_thousands_of_tensors_and_checksums_are_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ModelFiles(tmp_path / "source")
    values = np.arange(3, dtype=np.float32)
    for number in range(3000):
        place = files.add_tensor(f"t{number}", values + number)
        files.add_checksum(place.start, place.size, (files.add_bytes(bytes(4)),))
    packed = pack_model(files.save(monkeypatch))
    with vggq.open(packed.target) as opened:
        verify(opened)
    assert vggq.read_bytes(packed.target) == files.saved()["m.blob"]
