"""Selecting, renaming and tying tensors, and names in every format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from tests.helpers import save_npz
from vggq.errors import OptionError, SourceError
from vggq.packing import is_current, pack, verify_against
from vggq.packing.options import Options
from vggq.packing.sources import ReadOptions, open_source

from .test_damage import KINDS, labels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NAMES = ["module.a.weight", "module.b.weight", "optimizer.a", "optimizer.b.c"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made: dict[str, NDArray[Any]] = {name: np.full(3, i) for i, name in enumerate(NAMES)}
    return save_npz(tmp_path / "s.npz", made)


def names(path: Path, read_options: ReadOptions) -> list[str]:
    with open_source(path, read_options) as source:
        return [tensor.name for tensor in source.tensors]


def test_drop_leaves_tensors_out(source: Path) -> None:
    assert names(source, ReadOptions(drop=["optimizer.*"])) == NAMES[:2]
    assert names(source, ReadOptions(drop=["optimizer.a", "*.b.*"])) == ["module.a.weight"]


def test_rename_applies_patterns_in_order(source: Path) -> None:
    rename = (("^module\\.", "net."), (r"(\w)\.weight$", r"\1.w"), ("net", "x"))
    assert names(source, ReadOptions(drop=("optimizer.*",), rename=rename)) == ["x.a.w", "x.b.w"]


def test_open_rejects_patterns_that_match_no_tensor(source: Path) -> None:
    for read_options, key in (
        (ReadOptions(drop=("opt",)), "drop"),
        (ReadOptions(rename=(("q", ""),)), "rename"),
    ):
        with pytest.raises(OptionError) as caught:
            names(source, read_options)
        assert [name for name, _ in caught.value.problems] == [key]
        assert "matches no tensor" in str(caught.value)


def test_open_rejects_tensors_renamed_to_the_same_name(source: Path) -> None:
    with pytest.raises(SourceError, match="2 tensors have the name 'weight'"):
        names(source, ReadOptions(drop=("optimizer.*",), rename=(("^.*\\.", ""),)))


def test_open_rejects_dropping_every_tensor(source: Path) -> None:
    with pytest.raises(SourceError, match="`drop` leaves no tensors"):
        names(source, ReadOptions(drop=("*",)))


def test_packed_file_records_drop_and_rename(source: Path, tmp_path: Path) -> None:
    rename = {"^module\\.": "", "b": "a2"}
    packed = pack(source, tmp_path / "s.vggq", drop=["optimizer.*"], rename=rename, keep=["a.*"])
    assert list(vggq.load(packed.target)) == ["a2.weight", "a.weight"]
    with vggq.open(packed.target) as weights:
        verify_against(weights, source)
        options = Options.from_record(weights.manifest.options)
    assert options == Options(drop=["optimizer.*"], rename=rename, keep=["a.*"])
    assert is_current(packed.target, source, options)


def test_equal_tensors_are_stored_once_and_restored_as_one(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((50, 40)).astype(np.float32)
    other = weight.copy()
    other[0, 0] += 1
    alone = pack(save_npz(tmp_path / "a.npz", {"w": weight}), tmp_path / "a.vggq")
    made = {"w": weight, "tied": weight.copy(), "turned": weight.reshape(40, 50), "other": other}
    packed = pack(save_npz(tmp_path / "t.npz", made), tmp_path / "t.vggq")
    entries = {tensor.name: tensor.entry for tensor in packed.manifest.tensors}
    assert entries["w"] == entries["tied"]
    assert len(set(entries.values())) == 3
    assert packed.manifest.float32_size == 3 * weight.nbytes
    restored = vggq.load(packed.target)
    assert restored["w"] is restored["tied"]
    assert restored["w"] is not restored["turned"]
    np.testing.assert_array_equal(restored["w"], vggq.load(alone.target)["w"])
    np.testing.assert_array_equal(restored["w"], restored["turned"].reshape(50, 40))


@pytest.mark.slow
def test_packs_ten_thousand_tensors(tmp_path: Path) -> None:
    made: dict[str, NDArray[Any]] = {f"layer.{i}/ä b": np.array(i) for i in range(10_000)}
    packed = pack(save_npz(tmp_path / "m.npz", made), tmp_path / "m.vggq")
    restored = vggq.load(packed.target)
    assert list(restored) == list(made)
    assert all(int(array) == i for i, array in enumerate(restored.values()))


# Names that all formats can store: HDF5 treats names as paths, and .npz removes the suffix ".npy".
ODD_NAMES = [
    "a", "a.b", "a b", " ", "é", "é", "重み/層.1", "\N{GRINNING FACE}", "..", "a/../b", "-", "'\"",
    "$(touch x)", "a\nb", "__metadata__x", "%s{0}", "\u202eabc", "x" * 200, "CON", "a:0",
    *(f"layers.{i}/deep/er weight" for i in range(10_000)),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "label",
    labels("safetensors", "sharded, the index", "torch", "torch-legacy", "npz", "keras-hdf5",
           "keras", "onnx"),
)  # fmt: skip
def test_formats_preserve_unusual_names(tmp_path: Path, label: str) -> None:
    """.npy is not included because it stores no names."""
    kind, hdf5 = KINDS[label], label.startswith("keras")
    # HDF5 resolves ".." within a path.
    odd = [name for name in ODD_NAMES if not hdf5 or ".." not in name.split("/")]
    made: dict[str, NDArray[Any]] = {name: np.array(i) for i, name in enumerate(odd)}
    kind.save(tmp_path / kind.name, made)
    with open_source(tmp_path / kind.name) as source:
        found = {tensor.name: int(tensor.read()) for tensor in source.tensors}
    assert found == {name: i for i, name in enumerate(odd)}


@pytest.mark.torch
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_tied_in_torch_are_stored_once(tmp_path: Path, *, zipped: bool) -> None:
    """Tensors of the same storage with the same shape are one array; a transposed view is not."""
    import torch  # noqa: PLC0415

    weight = torch.randn(50, 40)
    state = {"embed": weight, "head": weight, "again": torch.nn.Parameter(weight), "t": weight.t()}
    path = tmp_path / "m.pt"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    packed = pack(path, tmp_path / "m.vggq")
    entries = {tensor.name: tensor.entry for tensor in packed.manifest.tensors}
    assert entries["embed"] == entries["head"] == entries["again"] != entries["t"]
    restored = vggq.load(packed.target)
    assert restored["embed"] is restored["head"] is restored["again"]
    np.testing.assert_array_equal(restored["t"], restored["embed"].T)


def test_npy_names_its_tensor_after_the_file(tmp_path: Path) -> None:
    values = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.save(tmp_path / "weights.npy", values)
    with open_source(tmp_path / "weights.npy") as source:
        (tensor,) = source.tensors
        assert (tensor.name, tensor.dtype, tensor.shape) == ("weights", "F64", (2, 3))
        np.testing.assert_array_equal(tensor.read(), values)
    np.save(tmp_path / "odd.npy", np.array(["x"]))
    with pytest.raises(SourceError, match="tensor 'odd': the dtype <U1 is not supported"):
        names(tmp_path / "odd.npy", ReadOptions())
    data = (tmp_path / "weights.npy").read_bytes()
    for length in range(len(data)):
        (tmp_path / "weights.npy").write_bytes(data[:length])
        with (
            pytest.raises(SourceError, match=r"weights\.npy"),
            open_source(tmp_path / "weights.npy") as source,
        ):
            source.tensors[0].read()
