"""Checkpoints in several files with an index."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy

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
    from pathlib import Path

    from numpy.typing import NDArray

FIRST: dict[str, NDArray[Any]] = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.zeros(3, np.float16),
}
SECOND: dict[str, NDArray[Any]] = {"c.weight": np.ones((2, 2), np.int64)}
NAMES = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
MAP = dict.fromkeys(FIRST, NAMES[0]) | dict.fromkeys(SECOND, NAMES[1])
BAD_MAP = "weight_map must map each tensor to the name of a file in this folder"


def save_index(path: Path, weight_map: object) -> Path:
    path.write_text(json.dumps({"metadata": {"total_size": 62}, "weight_map": weight_map}))
    return path


@pytest.fixture
def index(tmp_path: Path) -> Path:
    for name, state in zip(NAMES, (FIRST, SECOND), strict=True):
        safetensors.numpy.save_file(state, tmp_path / name)
    return save_index(tmp_path / "model.safetensors.index.json", MAP)


def read(path: Path, *drop: str) -> dict[str, NDArray[Any]]:
    with open_source(path, ReadOptions(drop=drop)) as source:
        assert source.format == "sharded"
        return {tensor.name: tensor.read() for tensor in source.tensors}


def error_of(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read(path)
    return str(caught.value).replace(f"{path.parent}/", "")


def test_reads_the_tensors_of_all_shards(index: Path) -> None:
    tensors = read(index)
    assert list(tensors) == ["a.weight", "b", "c.weight"]
    for name, array in (FIRST | SECOND).items():
        assert tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(tensors[name], array)


def test_hash_source_covers_every_file(index: Path) -> None:
    files = [index, *(index.parent / name for name in NAMES)]
    assert list_source_files(index) == files
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    assert hash_source(index) == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_packs_a_sharded_checkpoint(index: Path) -> None:
    packed = pack(index, index.with_name("m.vggq"))
    assert packed.manifest.source_sha256 == hash_source(index)
    assert sorted(vggq.load(packed.target)) == sorted(MAP)


@pytest.mark.torch
@pytest.mark.parametrize("zipped", [True, False])
def test_reads_torch_shards(tmp_path: Path, zipped: bool) -> None:  # noqa: FBT001
    import torch  # noqa: PLC0415

    names = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")
    for name, state in zip(names, (FIRST, SECOND), strict=True):
        tensors = {key: torch.from_numpy(array) for key, array in state.items()}
        torch.save(tensors, tmp_path / name, _use_new_zipfile_serialization=zipped)
    weight_map = dict.fromkeys(FIRST, names[0]) | dict.fromkeys(SECOND, names[1])
    tensors = read(save_index(tmp_path / "pytorch_model.bin.index.json", weight_map))
    for key, array in (FIRST | SECOND).items():
        np.testing.assert_array_equal(tensors[key], array)


@pytest.mark.parametrize(
    "name", ["../m.safetensors", "/m.safetensors", "a\\b", "c:m", "", ".", "..", 3, None]
)
def test_open_rejects_shards_outside_the_folder(index: Path, name: object) -> None:
    save_index(index, MAP | {"c.weight": name})
    assert error_of(index) == f"{index.name}: {BAD_MAP}"


@pytest.mark.parametrize("weight_map", [None, [], "a"])
def test_open_rejects_an_index_without_weight_map(index: Path, weight_map: object) -> None:
    save_index(index, weight_map)
    assert error_of(index) == f"{index.name}: {BAD_MAP}"


def test_open_rejects_an_index_that_differs_from_the_shards(index: Path) -> None:
    save_index(index, MAP | {"d": NAMES[1]})
    assert error_of(index) == (
        f"{index.name}: tensor 'd': missing from {NAMES[1]}, where weight_map lists it"
    )
    save_index(index, {"a.weight": NAMES[0], "c.weight": NAMES[1]})
    message = error_of(index).removeprefix(f"{index.name}: ")
    assert message.startswith("tensor 'b': ")
    assert problem_of(message) == f"found in {NAMES[0]}, where weight_map does not list it"
    assert list(read(index, "b")) == ["a.weight", "c.weight"]
    missing = f"no such file, but {index.name} lists it as a shard"
    save_index(index, MAP | {"b": "other.safetensors"})
    assert error_of(index) == f"other.safetensors: {missing}"
    save_index(index, MAP | {"b": "n" * 256})
    assert error_of(index) == f"{'n' * 256}: {missing}"


def test_open_names_the_shard_that_is_invalid(index: Path) -> None:
    (index.parent / NAMES[1]).write_text("version 1")
    assert error_of(index) == (
        f"{NAMES[1]}: not a safetensors or torch file, as a shard of {index.name} must be"
    )
    (index.parent / NAMES[1]).write_bytes(bytes(8) + b"{}")
    assert error_of(index).startswith(f"{NAMES[1]}: not valid JSON: ")


def test_a_shard_is_a_checkpoint_itself(index: Path) -> None:
    assert identify_format(index.parent / NAMES[0]).name == "safetensors"
