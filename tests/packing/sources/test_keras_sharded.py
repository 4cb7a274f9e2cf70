"""Keras weights in several files, as `save_weights` writes them with `max_shard_size`."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

import vggq
from vggq.errors import SourceError
from vggq.packing import pack
from vggq.packing.sources import (
    ReadOptions,
    hash_source,
    identify_format,
    list_source_files,
    open_source,
)

from .problems import problem_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]

RNG = np.random.default_rng(11)
SHARDS: dict[str, State] = {
    "m_00000.weights.h5": {
        "layers/dense/vars/0": RNG.standard_normal((40, 50)).astype(np.float32),
        "layers/dense/vars/1": RNG.standard_normal(50).astype(np.float32),
        "layers/dense_1/vars/0": RNG.standard_normal((50, 30)).astype(np.float32),
    },
    "m_00001.weights.h5": {"layers/dense_1/vars/1": RNG.standard_normal(30).astype(np.float32)},
}
STATE = {name: array for shard in SHARDS.values() for name, array in shard.items()}
FIRST, SECOND = SHARDS
MAP = {"/layers/dense/vars": [FIRST], "/layers/dense_1/vars": [FIRST, SECOND]}
TOTAL = sum(array.nbytes for array in STATE.values())
BAD_MAP = "weight_map must map each group to the names of files in this folder"


def save_index(path: Path, weight_map: object, total_size: object = float(TOTAL)) -> Path:
    index = {"metadata": {"total_size": total_size}, "weight_map": weight_map}
    path.write_text(json.dumps(index, indent=4))
    return path


@pytest.fixture
def index(tmp_path: Path) -> Path:
    for name, state in SHARDS.items():
        with h5py.File(tmp_path / name, "w") as file:
            for path, array in state.items():
                file[path] = array
    return save_index(tmp_path / "m.weights.json", MAP)


def read(path: Path, *drop: str, layout: str | None = None) -> State:
    with open_source(path, ReadOptions(layout, drop=drop)) as source:
        assert source.format == "keras-sharded"
        return {tensor.name: tensor.read() for tensor in source.tensors}


def error_of(path: Path, layout: str | None = None) -> str:
    with pytest.raises(SourceError) as caught:
        read(path, layout=layout)
    return str(caught.value).replace(f"{path.parent}/", "")


def test_reads_the_weights_of_all_files(index: Path) -> None:
    found = read(index)
    assert list(found) == sorted(STATE)
    for name, array in STATE.items():
        np.testing.assert_array_equal(found[name], array)


def test_every_file_belongs_to_the_source(index: Path) -> None:
    assert list_source_files(index) == [index, index.with_name(FIRST), index.with_name(SECOND)]
    before = hash_source(index)
    with h5py.File(index.with_name(SECOND), "a") as file:
        file["layers/dense_1/vars/1"][0] = 7
    assert hash_source(index) != before


def test_packs_sharded_weights(index: Path) -> None:
    packed = pack(index, index.with_name("m.vggq"))
    assert packed.manifest.source_format == "keras-sharded"
    assert packed.manifest.source_sha256 == hash_source(index)
    assert packed.remarks == ()
    assert set(vggq.load(packed.target)) == set(STATE)


@pytest.mark.parametrize("name", ["m.weights.json", "renamed.json", "2f1b9c"])
def test_the_content_of_the_index_decides(index: Path, name: str) -> None:
    path = index.rename(index.with_name(name))
    assert identify_format(path).name == "keras-sharded"
    assert set(read(path)) == set(STATE)


def test_an_index_may_have_a_single_name_for_a_group(index: Path) -> None:
    save_index(index, {**MAP, "/layers/dense/vars": FIRST})
    assert set(read(index)) == set(STATE)


@pytest.mark.parametrize("total_size", [None, "?", 0, TOTAL])
def test_the_total_size_is_optional(index: Path, total_size: object) -> None:
    save_index(index, MAP, total_size)
    assert set(read(index)) == set(STATE)


def test_open_rejects_an_index_that_lists_too_few_files(index: Path) -> None:
    save_index(index, {**MAP, "/layers/dense_1/vars": [FIRST]})
    assert error_of(index) == (
        f"m.weights.json: lists files with {TOTAL - 120} bytes of weights, but states a total_size "
        f"of {TOTAL}"
    )


def test_open_rejects_groups_that_a_file_lacks(index: Path) -> None:
    save_index(index, {**MAP, "/layers/other/vars": [SECOND]})
    assert error_of(index) == (
        f"m.weights.json: '/layers/other/vars' is missing from {SECOND}, where weight_map lists it"
    )


@pytest.mark.parametrize("name", ["../m.h5", "/m.h5", "a\\b", "c:m", "", "..", 3, None])
def test_open_rejects_files_outside_the_folder(index: Path, name: object) -> None:
    for value in (name, [FIRST, name]):
        save_index(index, {**MAP, "/layers/dense/vars": value})
        assert error_of(index) == f"m.weights.json: {BAD_MAP}"


def test_open_names_the_file_that_is_missing_or_invalid(index: Path) -> None:
    index.with_name(SECOND).write_text("?")
    expected = f"{SECOND}: not a keras-hdf5 file, as a shard of m.weights.json must be"
    assert error_of(index) == expected
    index.with_name(SECOND).unlink()
    expected = f"{SECOND}: no such file, but m.weights.json lists it as a shard"
    assert error_of(index) == expected


def test_an_unsupported_dataset_of_a_file_can_be_dropped(index: Path) -> None:
    with h5py.File(index.with_name(SECOND), "a") as file:
        file["note"] = "text"
    message = error_of(index).removeprefix("m.weights.json: ")
    assert problem_of(message, count=1) == "strings are not supported"
    assert set(read(index, "note")) == set(STATE)


def test_layout_torch_is_rejected_with_advice(index: Path) -> None:
    assert error_of(index, "torch") == (
        "m.weights.json: a weights file of Keras 3 does not describe its layers, as layout = "
        "'torch' needs; save the whole model instead: model.save('model.keras')"
    )


def test_an_index_of_tensors_is_another_format(tmp_path: Path) -> None:
    path = save_index(tmp_path / "m.safetensors.index.json", {"layers.0.weight": "a"})
    assert identify_format(path).name == "sharded"
    path = save_index(tmp_path / "m.weights.json", {"layers.0.weight": "a"})
    message = "the suffix is that of keras-sharded, but the content is sharded"
    with pytest.raises(SourceError, match=message):
        identify_format(path)


@pytest.fixture(scope="module")
def save_sharded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, float], Any]:
    """Return a function that trains a model, and saves it in files of a maximum size in bytes."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        warnings.simplefilter("ignore")
        keras = pytest.importorskip("keras")

    def save(path: Path, size: float) -> Any:
        layers = keras.layers
        inner = keras.Sequential([keras.Input((60,)), layers.Dense(50), layers.Dense(60)])
        last = layers.Dense(60, dtype="bfloat16")
        model = keras.Sequential([keras.Input((60,)), layers.Dense(60), inner, last])
        model.compile("adam", "mse")
        model.fit(np.ones((4, 60)), np.ones((4, 60)), verbose=0)
        model.save_weights(path, max_shard_size=size / 1024**3)
        return model

    return save


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [14_500, 40_000, 1e9])
def test_reads_what_keras_writes(
    save_sharded: Callable[[Path, float], Any], tmp_path: Path, size: float
) -> None:
    path = tmp_path / "m.weights.json"
    model = save_sharded(path, size)
    assert len(list_source_files(path)) == len(list(tmp_path.iterdir()))
    found = read(path)
    weights = [np.ascontiguousarray(weight).tobytes() for weight in model.get_weights()]
    in_layers = [array.tobytes() for name, array in found.items() if "optimizer" not in name]
    assert sorted(in_layers) == sorted(weights)
    optimizer = [name for name in found if name.startswith("optimizer/")]
    assert len(optimizer) == len(model.optimizer.variables)
    assert not any(name.startswith("optimizer") for name in read(path, "optimizer/*"))
