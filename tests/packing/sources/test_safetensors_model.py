"""safetensors files that are restored whole, with the safetensors library as their reader."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vggq
from tests.helpers import save_safetensors
from tests.packing.sources.restoring import assert_loaded, check_restored, random_array
from vggq.errors import OptionError, SourceError
from vggq.packing import pack
from vggq.packing.sources import ReadOptions, open_source

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]

RNG = np.random.default_rng(3)
STATE: State = {
    "embed": RNG.standard_normal((50, 32)).astype(np.float32),
    "half": RNG.standard_normal((40, 32)).astype(np.float16),
    "brain": RNG.standard_normal((40, 32)).astype(ml_dtypes.bfloat16),
    "double": RNG.standard_normal((40, 32)),
    "steps": np.arange(7),
    "mask": np.array([True, False]),
    "empty": np.zeros((0, 4), np.float32),
    "scalar": np.array(2.5, np.float32),
}
DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int64, np.uint8, np.bool_]


def check_arrays(path: Path, values: State) -> State:
    """Read a restored file with the library, and compare its arrays with those of `load`."""
    found: State = safetensors.numpy.load_file(path)
    for name, array in found.items():
        assert_loaded(array, values[name])
    return found


def test_restored_file_opens_in_safetensors(tmp_path: Path) -> None:
    source = tmp_path / "m.safetensors"
    safetensors.numpy.save_file(STATE, source, {"format": "pt", "comment": "é"})
    restored = check_restored(source, tmp_path / "out", bits=6)
    assert restored.quantized == {"embed", "half", "brain", "double"}
    found = check_arrays(restored.path, restored.values)
    assert found.keys() == STATE.keys()
    with safetensors.safe_open(restored.path, "numpy") as opened:
        assert opened.metadata() == {"format": "pt", "comment": "é"}
    for name in ("embed", "half", "brain", "double"):
        exact = STATE[name].astype(np.float64)
        error = np.linalg.norm(found[name].astype(np.float64) - exact)
        assert 0 < error < 0.03 * np.linalg.norm(exact)
    assert restored.packed.remarks == ()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    arrays=st.dictionaries(
        st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=5),
        st.tuples(st.lists(st.integers(0, 9), max_size=3).map(tuple), st.sampled_from(DTYPES)),
        min_size=1,
        max_size=5,
    ).filter(lambda arrays: "__metadata__" not in arrays),
    metadata=st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    seed=st.integers(0, 99),
)
def test_random_files_are_restored(
    tmp_path_factory: pytest.TempPathFactory, arrays: Any, metadata: Any, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("random")
    rng = np.random.default_rng(seed)
    state = {name: random_array(rng, *kind) for name, kind in arrays.items()}
    metadata = {key: value for key, value in (metadata or {}).items() if key != "vggq"}
    safetensors.numpy.save_file(state, folder / "m.safetensors", metadata)
    restored = check_restored(folder / "m.safetensors", folder / "out")
    assert restored.kept == {}
    assert check_arrays(restored.path, restored.values).keys() == state.keys()


def test_dtypes_without_an_array_are_kept_exactly(tmp_path: Path) -> None:
    source = save_safetensors(
        tmp_path / "m.safetensors",
        {"w": ("F32", STATE["embed"]), "fp4": ("F4", np.arange(1, dtype=np.uint8))},
    )
    content = source.read_bytes().replace(b'"shape": [1]', b'"shape": [2]')
    source.write_bytes(content)
    restored = check_restored(source, tmp_path / "out")
    assert restored.kept == {"fp4": "the dtype F4 is not supported"}
    assert set(restored.values) == {"w"}


def test_restore_is_tensors_by_default(tmp_path: Path) -> None:
    source = tmp_path / "m.safetensors"
    safetensors.numpy.save_file(STATE, source, {"comment": "!"})
    packed = pack(source, tmp_path / "m.vggq")
    assert packed.manifest.model is None
    assert packed.remarks == ("not packed: the metadata 'comment'",)
    with pytest.raises(OptionError, match="does not apply with restore = 'model'"):
        pack(source, tmp_path / "m.vggq", restore="model", drop=["embed"])


SHARDS: dict[str, State] = {
    "m-2.safetensors": {"b": STATE["half"], "z.count": np.arange(3)},
    "m-1.safetensors": {"a": STATE["embed"], "c": np.tile(STATE["embed"], (3, 1)) + 1},
}


def save_index(path: Path, shards: dict[str, Any], **more: str) -> Path:
    weight_map = {name: shard for shard, state in shards.items() for name in state} | more
    path.write_text(json.dumps({"metadata": {"total_size": 7}, "weight_map": weight_map}, indent=1))
    return path


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    for name, state in SHARDS.items():
        safetensors.numpy.save_file(state, tmp_path / "source" / name)
    return save_index(tmp_path / "source" / "m.safetensors.index.json", SHARDS)


def test_shards_and_their_index_are_restored(sharded: Path, tmp_path: Path) -> None:
    restored = check_restored(sharded, tmp_path / "out")
    with vggq.open(restored.packed.target) as weights:
        assert [member.path for member in weights.members] == [
            "m.safetensors.index.json", "m-1.safetensors", "m-2.safetensors"
        ]  # fmt: skip
    assert restored.path.read_bytes() == sharded.read_bytes()
    assert restored.quantized == {"a", "b", "c"}
    for name in SHARDS:
        check_arrays(restored.path.with_name(name), restored.values)
    with vggq.as_file(restored.packed.target) as path:
        assert {file.name for file in path.parent.iterdir()} == {*SHARDS, path.name}


def test_tensors_that_the_index_does_not_list_are_kept_exactly(
    sharded: Path, tmp_path: Path
) -> None:
    listed = {"m-1.safetensors": ["a"], "m-2.safetensors": ["b", "z.count"]}
    save_index(sharded, listed)
    restored = check_restored(sharded, tmp_path / "out")
    assert restored.kept == {"c": "found in m-1.safetensors, where weight_map does not list it"}
    save_index(sharded, SHARDS, d="m-1.safetensors")
    with (
        pytest.raises(SourceError, match=r"tensor 'd': missing from m-1\.safetensors"),
        open_source(sharded, ReadOptions(restore="model")),
    ):
        pass


@pytest.mark.torch
@pytest.mark.parametrize("is_zip", [True, False])
def test_shards_of_torch_are_restored(tmp_path: Path, *, is_zip: bool) -> None:
    torch: Any = pytest.importorskip("torch")
    shared = torch.from_numpy(STATE["embed"])
    shards = {
        "pytorch_model-1.bin": {"a.weight": shared, "a.tied": shared, "a.row": shared[0]},
        "pytorch_model-2.bin": {"b": torch.from_numpy(STATE["half"]), "s": torch.arange(4)},
    }
    (tmp_path / "source").mkdir()
    for name, state in shards.items():
        path = tmp_path / "source" / name
        torch.save(state, path, _use_new_zipfile_serialization=is_zip)
    index = save_index(tmp_path / "source" / "pytorch_model.bin.index.json", shards)
    restored = check_restored(index, tmp_path / "out")
    assert restored.quantized == {"a.weight", "a.tied", "b"}
    assert set(restored.kept) == {"a.row"}
    for name, state in shards.items():
        loaded = torch.load(restored.path.with_name(name), weights_only=True)
        assert loaded.keys() == state.keys()
        for tensor, value in loaded.items():
            if tensor in restored.values:
                assert_loaded(value.numpy(), restored.values[tensor])
        if name.endswith("1.bin"):
            assert torch.equal(loaded["a.row"], loaded["a.weight"][0])
