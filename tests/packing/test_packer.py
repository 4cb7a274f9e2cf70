"""`pack`: its results, their reproducibility, and the state after a failure."""

from __future__ import annotations

import dataclasses
import json
import os
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import safetensors.numpy

import vggq
from tests.helpers import save_npz, save_safetensors
from vggq.errors import (
    MissingDependencyError,
    OptionError,
    TargetError,
)
from vggq.packing import (
    Options,
    encoder,
    is_current,
    pack,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]


@pytest.fixture
def source(tmp_path: Path, state: State) -> Path:
    return save_npz(tmp_path / "state.npz", state)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_pack_gives_the_same_bytes_with_any_number_of_threads(tmp_path: Path, source: Path) -> None:
    packed = {
        pack(source, tmp_path / "a.vggq", threads=threads).target.read_bytes()
        for threads in (1, 2, 8, None, 2)
    }
    assert len(packed) == 1


def test_pack_gives_the_same_bytes_with_any_hash_seed(tmp_path: Path, source: Path) -> None:
    code = "import sys; from vggq.packing import pack; pack(sys.argv[1], sys.argv[2])"
    packed = set()
    for seed in ("0", "1", "12345"):
        target = tmp_path / f"{seed}.vggq"
        command = [sys.executable, "-c", code, str(source), str(target)]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": seed})
        packed.add(target.read_bytes())
    assert len(packed) == 1


def test_pack_ignores_the_order_of_tensors_in_the_source(tmp_path: Path, state: State) -> None:
    loaded = []
    for order in (list(state), list(state)[::-1]):
        source = save_npz(tmp_path / "s.npz", {name: state[name] for name in order})
        packed = pack(source, tmp_path / "s.vggq")
        manifest = dataclasses.replace(packed.manifest, source_sha256="")
        loaded.append((manifest, list(vggq.load(packed.target))))
    assert loaded[0] == loaded[1]


def test_pack_orders_names_naturally(tmp_path: Path) -> None:
    made = {f"layer.{i}.b": np.zeros(1) for i in (10, 2, 1)} | {"a": np.zeros(1)}
    packed = pack(save_npz(tmp_path / "s.npz", made), tmp_path / "s.vggq")
    assert list(vggq.load(packed.target)) == ["a", "layer.1.b", "layer.2.b", "layer.10.b"]


def test_pack_orders_names_with_thousands_of_digits(tmp_path: Path) -> None:
    names = ["a9", "a10", "a" + "0" * 5000 + "11", "a" + "1" * 5000]
    state = {name: np.arange(index) for index, name in enumerate(names)}
    source = tmp_path / "s.safetensors"
    safetensors.numpy.save_file(dict(reversed(state.items())), source)
    assert list(vggq.load(pack(source, tmp_path / "s.vggq").target)) == names


@pytest.mark.parametrize("threads", [0, -1])
def test_pack_rejects_fewer_than_one_thread(tmp_path: Path, source: Path, threads: int) -> None:
    with pytest.raises(OptionError, match=f"threads: expected at least 1, found {threads}"):
        pack(source, tmp_path / "s.vggq", threads=threads)


def test_manifest_states_the_measured_sqnr(tmp_path: Path, source: Path, state: State) -> None:
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


def test_more_bits_increase_sqnr_and_size(tmp_path: Path, source: Path) -> None:
    made = [pack(source, tmp_path / "s.vggq", bits=bits) for bits in range(1, 9)]
    sqnr = [packed.manifest.sqnr for packed in made]
    sizes = [packed.size for packed in made]
    assert sqnr == sorted(sqnr)
    assert sizes == sorted(sizes)


def test_memory_layout_of_the_source_does_not_change_the_result(tmp_path: Path) -> None:
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


def test_pack_bfloat16(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_tensors_with_non_finite_values_are_stored_exactly(tmp_path: Path, odd: float) -> None:
    values = np.random.default_rng(1).standard_normal((40, 40)).astype(np.float32)
    values[3, 3:5] = odd
    source = save_npz(tmp_path / "s.npz", {"w": values, "fine": values[:3], "b": values[3]})
    packed = pack(source, tmp_path / "s.vggq", bits=2)
    assert packed.remarks == ("tensor 'w' is stored exactly: 2 of its 1600 values are not finite",)
    assert [tensor.quantized for tensor in packed.manifest.tensors] == [False, False, False]
    np.testing.assert_array_equal(vggq.load(packed.target)["w"], values)


@pytest.mark.parametrize("suffix", ["npz", "npy", "h5", "safetensors"])
@pytest.mark.parametrize("dtype", ["<c8", ">c16"])
def test_complex_arrays_are_stored_exactly(tmp_path: Path, suffix: str, dtype: str) -> None:
    rng = np.random.default_rng(3)
    values = (rng.standard_normal((40, 50)) + 1j * rng.standard_normal((40, 50))).astype(dtype)
    values[0, :2] = complex(-0.0, np.nan), complex(np.inf, -0.0)
    path = tmp_path / f"w.{suffix}"
    if suffix == "npz":
        save_npz(path, {"w": values})
    elif suffix == "npy":
        np.save(path, values)
    elif suffix == "h5":
        with h5py.File(path, "w") as file:
            file["w"] = values
    else:
        # safetensors has no complex128, and no other byte order.
        values = values.astype("<c8")
        save_safetensors(path, {"w": ("C64", values)})
    packed = pack(path, tmp_path / "w.vggq")
    native = values.astype(values.dtype.newbyteorder("="))
    for dtype_to_restore in (None, "float16", "source"):
        restored = vggq.load(packed.target, dtype=dtype_to_restore)["w"]
        assert restored.dtype == native.dtype
        assert restored.tobytes() == native.tobytes()


@pytest.mark.torch
def test_pack_remarks_which_table_is_the_state_dict(tmp_path: Path) -> None:
    import torch  # noqa: PLC0415

    path = tmp_path / "m.ckpt"
    torch.save({"state_dict": {"w": torch.randn(40, 40)}, "epoch": 3}, path)
    packed = pack(path, tmp_path / "m.vggq")
    assert packed.remarks == (
        "the state dict is under the key 'state_dict'",
        "not packed: 'epoch'",
    )
    assert pack(path, tmp_path / "m.vggq", key="state_dict").remarks == ("not packed: 'epoch'",)


def test_pack_checks_the_target_before_encoding(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(encoder, "encode_tensor", work)
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match="cannot be written: "):
        pack(source, tmp_path / "file" / "x.vggq")


def test_pack_rejects_patterns_that_match_nothing(tmp_path: Path, source: Path) -> None:
    with pytest.raises(OptionError) as caught:
        pack(source, tmp_path / "s.vggq", keep=["*.bias", "*.bais", "x"])
    assert caught.value.problems == [
        ("keep", "the pattern '*.bais' matches no tensor"),
        ("keep", "the pattern 'x' matches no tensor"),
    ]


def test_pack_reports_progress_up_to_the_total(tmp_path: Path, source: Path, state: State) -> None:
    seen: list[tuple[int, int]] = []
    pack(source, tmp_path / "s.vggq", progress=lambda done, whole: seen.append((done, whole)))
    whole = sum(array.size for array in state.values())
    assert seen[-1] == (whole, whole)
    assert seen == sorted(seen)
    assert len(seen) == len(state)


def test_failed_pack_keeps_the_old_target(
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


def test_pack_rejects_unsuitable_targets(tmp_path: Path, source: Path) -> None:
    for target, message in (
        (source, "expected a name that ends in .vggq"),
        (tmp_path / "x.bin", "expected a name that ends in .vggq"),
    ):
        with pytest.raises(TargetError, match=message):
            pack(source, target)
    (tmp_path / "folder.vggq").mkdir()
    with pytest.raises(TargetError, match="a directory, not a file"):
        pack(source, tmp_path / "folder.vggq")
    (tmp_path / "link.vggq").symlink_to(source)
    with pytest.raises(TargetError, match="the target is the source itself"):
        pack(source, tmp_path / "link.vggq")
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match="cannot be written: "):
        pack(source, tmp_path / "file" / "x.vggq")


def test_packed_file_has_the_usual_permissions(tmp_path: Path, source: Path) -> None:
    old = os.umask(0o022)
    try:
        target = pack(source, tmp_path / "new" / "deep" / "s.vggq").target
    finally:
        os.umask(old)
    assert target.stat().st_mode & 0o777 == 0o644


def test_provenance_is_recorded_and_changes_no_tensor(tmp_path: Path, source: Path) -> None:
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


def test_packed_file_reveals_no_path_and_no_time(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pack(source, tmp_path / "s.vggq").target.read_bytes()
    elsewhere = tmp_path / "a-place-of-its-own"
    elsewhere.mkdir()
    moved = source.rename(elsewhere / "renamed.npz")
    os.utime(moved, (0, 0))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert pack(moved, elsewhere / "t.vggq").target.read_bytes() == first


def test_safetensors_and_npz_sources_give_the_same_arrays(tmp_path: Path, state: State) -> None:
    safetensors.numpy.save_file(state, tmp_path / "s.safetensors")
    one = vggq.load(pack(tmp_path / "s.safetensors", tmp_path / "1.vggq").target)
    two = vggq.load(pack(save_npz(tmp_path / "s.npz", state), tmp_path / "2.vggq").target)
    assert list(one) == list(two)
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name])
