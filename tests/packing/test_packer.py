"""Packing: what is written, that it is always the same, and what is left when it fails."""

from __future__ import annotations

import dataclasses
import json
import os
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy

import vggq
from tests.helpers import decoded, save_npz
from vggq.errors import (
    DataError,
    MissingDependencyError,
    OptionError,
    SourceError,
    TargetError,
    VerificationError,
)
from vggq.packing import (
    Options,
    encoder,
    frame_spool,
    is_current,
    pack,
    reuse,
    verify,
    verify_against,
)
from vggq.packing.atomic_file import atomic_write
from vggq.packing.codecs import raw
from vggq.packing.codecs.codebook import encoder as codebook
from vggq.packing.sizes import megabytes
from vggq.packing.sources import SourceTensor
from vggq.packing.summary import describe

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]


@pytest.fixture
def source(tmp_path: Path, state: State) -> Path:
    return save_npz(tmp_path / "state.npz", state)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_bytes_do_not_depend_on_threads(tmp_path: Path, source: Path) -> None:
    packed = {
        pack(source, tmp_path / "a.vggq", threads=threads).target.read_bytes()
        for threads in (1, 2, 8, None, 2)
    }
    assert len(packed) == 1


def test_the_bytes_do_not_depend_on_the_hash_seed(tmp_path: Path, source: Path) -> None:
    code = "import sys; from vggq.packing import pack; pack(sys.argv[1], sys.argv[2])"
    packed = set()
    for seed in ("0", "1", "12345"):
        target = tmp_path / f"{seed}.vggq"
        command = [sys.executable, "-c", code, str(source), str(target)]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": seed})
        packed.add(target.read_bytes())
    assert len(packed) == 1


def test_the_order_of_the_source_does_not_matter(tmp_path: Path, state: State) -> None:
    loaded = []
    for order in (list(state), list(state)[::-1]):
        source = save_npz(tmp_path / "s.npz", {name: state[name] for name in order})
        packed = pack(source, tmp_path / "s.vggq")
        manifest = dataclasses.replace(packed.manifest, source_sha256="")
        loaded.append((manifest, list(vggq.load(packed.target))))
    assert loaded[0] == loaded[1]


def test_names_are_in_natural_order(tmp_path: Path) -> None:
    made = {f"layer.{i}.b": np.zeros(1) for i in (10, 2, 1)} | {"a": np.zeros(1)}
    packed = pack(save_npz(tmp_path / "s.npz", made), tmp_path / "s.vggq")
    assert list(vggq.load(packed.target)) == ["a", "layer.1.b", "layer.2.b", "layer.10.b"]


def test_names_with_more_digits_than_an_integer_is_read_from(tmp_path: Path) -> None:
    names = ["a9", "a10", "a" + "0" * 5000 + "11", "a" + "1" * 5000]
    state = {name: np.arange(index) for index, name in enumerate(names)}
    source = tmp_path / "s.safetensors"
    safetensors.numpy.save_file(dict(reversed(state.items())), source)
    assert list(vggq.load(pack(source, tmp_path / "s.vggq").target)) == names


@pytest.mark.parametrize("threads", [0, -1])
def test_a_number_of_threads_that_is_none(tmp_path: Path, source: Path, threads: int) -> None:
    with pytest.raises(OptionError, match=f"threads: expected at least 1, found {threads}"):
        pack(source, tmp_path / "s.vggq", threads=threads)


def test_the_stated_fidelity_is_the_measured_one(
    tmp_path: Path, source: Path, state: State
) -> None:
    for bits in range(1, 9):
        packed = pack(source, tmp_path / "s.vggq", bits=bits)
        restored = vggq.load(packed.target)
        tensors = {tensor.name: tensor for tensor in packed.manifest.tensors}
        assert [name for name, tensor in tensors.items() if tensor.quantized] == [
            "conv.weight",
            "half.weight",
        ]
        for name in ("conv.weight", "half.weight"):
            exact = state[name].astype(np.float64)
            ratio = np.square(exact).sum() / np.square(exact - restored[name]).sum()
            assert tensors[name].sqnr == pytest.approx(10 * np.log10(ratio), abs=1e-6)
        assert packed.size == packed.target.stat().st_size
        assert packed.ratio == packed.manifest.float32_size / packed.size


def test_more_bits_are_nearer_and_larger(tmp_path: Path, source: Path) -> None:
    made = [pack(source, tmp_path / "s.vggq", bits=bits) for bits in range(1, 9)]
    sqnr = [packed.manifest.sqnr for packed in made]
    sizes = [packed.size for packed in made]
    assert sqnr == sorted(sqnr)
    assert sizes == sorted(sizes)


def test_every_way_of_storing_floats_gives_the_same(tmp_path: Path) -> None:
    values = np.random.default_rng(8).standard_normal((60, 50)).astype(np.float32)
    forms = [
        values,
        values.astype(">f4"),
        np.asfortranarray(values),
        values.astype("<f8"),
        np.repeat(values, 2, axis=0)[::2],
    ]
    restored = [
        vggq.load(pack(save_npz(tmp_path / "s.npz", {"w": form}), tmp_path / "s.vggq").target)["w"]
        for form in forms
    ]
    for array in restored[1:]:
        np.testing.assert_array_equal(array, restored[0])


def test_bfloat16(tmp_path: Path) -> None:
    bits = np.random.default_rng(9).integers(0x3F00, 0x4000, 2000, dtype=np.uint16)
    header = {
        "w": {"dtype": "BF16", "shape": [40, 50], "data_offsets": [0, 4000]},
        "b": {"dtype": "BF16", "shape": [3], "data_offsets": [4000, 4006]},
    }
    text = json.dumps(header).encode()
    source = tmp_path / "bf16.safetensors"
    source.write_bytes(
        struct.pack("<Q", len(text)) + text + bits.astype("<u2").tobytes() + bits[:3].tobytes()
    )
    restored = vggq.load(pack(source, tmp_path / "s.vggq").target)
    # 256 patterns, and as many centroids: even the quantized tensor is exact.
    np.testing.assert_array_equal(restored["w"].reshape(-1).view("u4"), bits.astype("u4") << 16)
    np.testing.assert_array_equal(restored["b"].view("u4"), bits[:3].astype("u4") << 16)


def tensor(shape: tuple[int, ...], dtype: str = "F32", name: str = "layer.weight") -> SourceTensor:
    return SourceTensor(name, dtype, shape, lambda: np.zeros(shape))


@pytest.mark.parametrize(
    ("described", "patterns", "kept"),
    [
        (tensor((1000,)), (), True),
        (tensor((27, 37)), (), True),
        (tensor((25, 40)), (), False),
        (tensor((10, 10, 10)), (), False),
        (tensor((25, 40), "I32"), (), True),
        (tensor((25, 40), "BOOL"), (), True),
        (tensor((25, 40), "BF16"), (), False),
        (tensor((0, 40)), (), True),
        (tensor(()), (), True),
        (tensor((25, 40)), ("*.bias",), False),
        (tensor((25, 40)), ("*.bias", "layer.*"), True),
        (tensor((25, 40)), ("LAYER.*",), False),
    ],
)
def test_what_is_stored_exactly(
    *, described: SourceTensor, patterns: tuple[str, ...], kept: bool
) -> None:
    assert raw.is_kept(described, patterns) is kept


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_stored_exactly(tmp_path: Path, odd: float) -> None:
    values = np.random.default_rng(1).standard_normal((40, 40)).astype(np.float32)
    values[3, 3:5] = odd
    source = save_npz(tmp_path / "s.npz", {"w": values, "fine": values[:3], "b": values[3]})
    packed = pack(source, tmp_path / "s.vggq", bits=2)
    assert packed.remarks == ("tensor 'w' is stored exactly: 2 of its 1600 values are not finite",)
    assert [tensor.quantized for tensor in packed.manifest.tensors] == [False, False, False]
    np.testing.assert_array_equal(vggq.load(packed.target)["w"], values)


@pytest.mark.torch
def test_a_table_that_was_chosen_is_remarked(tmp_path: Path) -> None:
    import torch  # noqa: PLC0415

    path = tmp_path / "m.ckpt"
    torch.save({"state_dict": {"w": torch.randn(40, 40)}, "epoch": 3}, path)
    packed = pack(path, tmp_path / "m.vggq")
    assert packed.remarks == ("its state dict is the table 'state_dict'",)
    assert pack(path, tmp_path / "m.vggq", key="state_dict").remarks == ()


def test_frames_that_do_not_fit_in_memory_wait_on_disk(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pack(source, tmp_path / "a.vggq").target.read_bytes()
    monkeypatch.setattr(frame_spool, "_IN_MEMORY", 100)
    assert pack(source, tmp_path / "b.vggq").target.read_bytes() == expected
    assert names(tmp_path) == {"state.npz", "a.vggq", "b.vggq"}


def test_a_target_that_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(encoder, "encode_tensor", work)
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match="cannot be written: "):
        pack(source, tmp_path / "file" / "x.vggq")


def test_a_pattern_that_matches_nothing(tmp_path: Path, source: Path) -> None:
    with pytest.raises(OptionError) as caught:
        pack(source, tmp_path / "s.vggq", keep=["*.bias", "*.bais", "x"])
    assert caught.value.problems == [
        ("keep", "the pattern '*.bais' matches no tensor"),
        ("keep", "the pattern 'x' matches no tensor"),
    ]


@pytest.mark.parametrize("bits", range(1, 9))
def test_each_weight_gets_its_nearest_centroid(bits: int) -> None:
    values = np.random.default_rng(bits).standard_normal((31, 37)).astype(np.float32)
    codec, content = codebook.encode(values, bits)
    centres = np.frombuffer(content, "<f4", codec.centroids).astype(np.float64)
    assert codec.centroids == 2**bits
    nearest = np.abs(values.reshape(-1, 1) - centres).argmin(axis=1)
    restored = decoded(codec, content, values.size)
    np.testing.assert_array_equal(restored, centres[nearest].astype(np.float32))


def test_progress_reaches_the_whole(tmp_path: Path, source: Path, state: State) -> None:
    seen: list[tuple[int, int]] = []
    pack(source, tmp_path / "s.vggq", progress=lambda done, whole: seen.append((done, whole)))
    whole = sum(array.size for array in state.values())
    assert seen[-1] == (whole, whole)
    assert seen == sorted(seen)
    assert len(seen) == len(state)


def test_a_failure_leaves_the_old_target_and_nothing_else(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = pack(source, tmp_path / "s.vggq").target
    old = target.read_bytes()
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingDependencyError) as caught:
        pack(source, target)
    assert str(caught.value) == "zstandard is not installed: pip install 'hatch-vggq[build]'"
    assert target.read_bytes() == old
    assert names(tmp_path) == {"state.npz", "s.vggq"}


def test_targets_that_would_destroy_something(tmp_path: Path, source: Path) -> None:
    for target, message in (
        (source, "does not end in .vggq"),
        (tmp_path / "x.bin", "does not end in .vggq"),
    ):
        with pytest.raises(TargetError, match=message):
            pack(source, target)
    (tmp_path / "folder.vggq").mkdir()
    with pytest.raises(TargetError, match="is a directory"):
        pack(source, tmp_path / "folder.vggq")
    (tmp_path / "link.vggq").symlink_to(source)
    with pytest.raises(TargetError, match="is the source itself"):
        pack(source, tmp_path / "link.vggq")
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match="cannot be written: "):
        pack(source, tmp_path / "file" / "x.vggq")


def test_a_written_file_has_the_usual_permissions(tmp_path: Path, source: Path) -> None:
    old = os.umask(0o022)
    try:
        target = pack(source, tmp_path / "new" / "deep" / "s.vggq").target
    finally:
        os.umask(old)
    assert target.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [ValueError("boom"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "x"
    target.write_bytes(b"old")

    def write_half() -> None:
        with atomic_write(target) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == {"x"}


def test_is_current(
    tmp_path: Path, source: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "s.vggq"
    options = Options(bits=5, keep=("*.bias",))
    assert not is_current(target, source, options)
    pack(source, target, bits=5, keep=["*.bias"])
    assert is_current(target, source, options)
    assert not is_current(target, source, Options(bits=5))
    assert not is_current(target, source, Options(bits=4, keep=("*.bias",)))
    with monkeypatch.context() as patch:
        patch.setattr(reuse, "ENCODER_VERSION", 99)
        assert not is_current(target, source, options)
    sound = target.read_bytes()
    target.write_bytes(sound[:-1])
    assert not is_current(target, source, options)
    target.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    assert not is_current(target, source, options)
    pack(source, target, bits=5, keep=["*.bias"])
    state["steps"] += 1
    save_npz(source, state)
    assert not is_current(target, source, options)
    source.unlink()
    with pytest.raises(SourceError):
        is_current(target, source, options)


def test_verify_decodes_everything(packed: Path) -> None:
    seen: list[str] = []
    with vggq.open(packed) as weights:
        verify(weights, seen.append)
        assert seen == list(weights)
    data = bytearray(packed.read_bytes())
    data[-3] ^= 1
    with vggq.open(bytes(data)) as weights, pytest.raises(DataError, match="tensor 'steps': "):
        verify(weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("steps"), "steps: not of the source in the packed file"),
        (lambda s: s.update(new=np.zeros(1)), "new: missing from the packed file"),
        (lambda s: s["conv.bias"].__setitem__(0, 9), "tensor 'conv.bias': differs, and it is"),
        (
            lambda s: s["conv.weight"].__setitem__((0, 0), 9),
            "tensor 'conv.weight': is not as near as the manifest says",
        ),
        (
            lambda s: s["conv.weight"].__setitem__((0, 0), np.nan),
            "tensor 'conv.weight': is not as near as the manifest says",
        ),
        (
            lambda s: s.update({"conv.weight": s["conv.weight"].T}),
            "tensor 'conv.weight': packed from ((40, 30), 'F32'), it is ((30, 40), 'F32') now",
        ),
        (
            lambda s: s.update({"conv.weight": s["conv.weight"].astype("f8")}),
            "tensor 'conv.weight': packed from ((40, 30), 'F32'), it is ((40, 30), 'F64') now",
        ),
    ],
)
def test_verify_against_a_changed_source(
    packed: Path, state: State, tmp_path: Path, change: Any, message: str
) -> None:
    with vggq.open(packed) as weights:
        verify_against(weights, save_npz(tmp_path / "same.npz", state))
        change(state)
        with pytest.raises(VerificationError) as caught:
            verify_against(weights, save_npz(tmp_path / "other.npz", state))
    assert str(caught.value).startswith(message)


def test_options_find_every_problem() -> None:
    with pytest.raises(OptionError) as caught:
        Options(bits=9, layout="tf", keep=("",))
    assert [key for key, _ in caught.value.problems] == ["bits", "layout", "keep"]
    assert str(caught.value).startswith("bits: expected an integer from 1 to 8, found 9; layout: ")


def test_a_lone_string_is_no_list_of_patterns(tmp_path: Path, source: Path) -> None:
    with pytest.raises(OptionError, match="keep: expected a list of patterns"):
        pack(source, tmp_path / "s.vggq", keep="*.bias")


def test_options_there_and_back() -> None:
    options = Options(
        bits=3,
        layout="torch",
        key="model",
        drop=("x",),
        rename=(("a", "b"),),
        keep=("a", "b"),
        license="MIT",
        description="d",
        url="http://a",
    )
    assert Options.from_table(options.to_table()) == options
    assert Options.from_table({}) == Options()
    with pytest.raises(OptionError, match="zzz: unknown option"):
        Options.from_table({"zzz": 1})


def test_provenance_is_in_the_file_and_changes_nothing_else(tmp_path: Path, source: Path) -> None:
    plain = pack(source, tmp_path / "a.vggq")
    told: dict[str, Any] = {
        "license": "MIT",
        "description": "A model.\nTwo lines.",
        "url": "https://a.org/b",
    }
    packed = pack(source, tmp_path / "b.vggq", **told)
    with vggq.open(packed.target) as weights:
        assert weights.manifest.options == plain.manifest.options | told
        assert weights.manifest.tensors == plain.manifest.tensors
    assert is_current(packed.target, source, Options(**told))
    assert not is_current(packed.target, source, Options(**told | {"description": "Another."}))
    assert not is_current(packed.target, source, Options())


def test_nothing_in_the_file_tells_of_place_and_time(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pack(source, tmp_path / "s.vggq").target.read_bytes()
    elsewhere = tmp_path / "a-place-of-its-own"
    elsewhere.mkdir()
    moved = source.rename(elsewhere / "renamed.npz")
    os.utime(moved, (0, 0))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert pack(moved, elsewhere / "t.vggq").target.read_bytes() == first


def test_without_packaging_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "packaging.licenses", None)
    assert Options(description="no licence").license is None
    with pytest.raises(MissingDependencyError) as caught:
        Options(license="MIT")
    assert str(caught.value) == (
        "packaging.licenses is not installed: pip install 'hatch-vggq[build]'"
    )


def test_describe(tmp_path: Path) -> None:
    exact = pack(save_npz(tmp_path / "e.npz", {"b": np.zeros(3000)}), tmp_path / "e.vggq")
    assert describe(exact.manifest, 6000) == "12.0 kB of weights in 6.0 kB (2.00x), exact"
    weight = np.random.default_rng(0).standard_normal((50, 50)).astype(np.float32)
    lossy = pack(save_npz(tmp_path / "l.npz", {"w": weight}), tmp_path / "l.vggq", bits=3)
    sqnr = lossy.manifest.sqnr
    assert describe(lossy.manifest, 2000) == (
        f"10.0 kB of weights in 2.0 kB (5.00x), SQNR {sqnr:.2f} dB (worst {sqnr:.2f} dB, w)"
    )
    assert [megabytes(n) for n in (0, 999, 1000, 100_000, 999_949, 999_950)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "100.0 kB",
        "999.9 kB",
        "1.0 MB",
    ]


def test_a_safetensors_source_gives_what_npz_gives(tmp_path: Path, state: State) -> None:
    safetensors.numpy.save_file(state, tmp_path / "s.safetensors")
    one = vggq.load(pack(tmp_path / "s.safetensors", tmp_path / "1.vggq").target)
    two = vggq.load(pack(save_npz(tmp_path / "s.npz", state), tmp_path / "2.vggq").target)
    assert list(one) == list(two)
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name])
