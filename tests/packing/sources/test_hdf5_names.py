"""Every name of an HDF5 dataset is kept, over links of any kind."""

from __future__ import annotations

import json
import time
import zipfile
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

import vggq
from vggq.errors import SourceError
from vggq.packing import pack
from vggq.packing.sources import ReadOptions, open_source
from vggq.packing.sources.keras._tree import read_tree

from .problems import problem_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WEIGHTS = np.random.default_rng(6).standard_normal((40, 50)).astype(np.float32)
NAME = "layers/embed/vars/0"


def hard_link(file: Any) -> list[str]:
    file["layers/head/vars/0"] = file[NAME]
    return ["layers/head/vars/0"]


def soft_link(file: Any) -> list[str]:
    file["layers/head/vars/0"] = h5py.SoftLink(f"/{NAME}")
    return ["layers/head/vars/0"]


def relative_soft_link(file: Any) -> list[str]:
    file["layers/head"] = h5py.SoftLink("embed/vars/0")
    return ["layers/head"]


def link_to_a_soft_link(file: Any) -> list[str]:
    soft_link(file)
    file["alias"] = h5py.SoftLink("/layers/head/vars/0")
    return ["layers/head/vars/0", "alias"]


def hard_link_to_a_group(file: Any) -> list[str]:
    file["layers/head"] = file["layers/embed"]
    return ["layers/head/vars/0"]


def soft_link_to_a_group(file: Any) -> list[str]:
    file["head"] = h5py.SoftLink("/layers/embed")
    return ["head/vars/0"]


def group_linked_twice_at_two_levels(file: Any) -> list[str]:
    file["layers/head"] = file["layers/embed"]
    file["layers/embed/again"] = file["layers/embed/vars"]
    return ["layers/head/vars/0", "layers/head/again/0", "layers/embed/again/0"]


def links(file: Any) -> list[str]:
    """Link a dataset and a group in each way."""
    return [*hard_link(file), *soft_link_to_a_group(file)]


@pytest.mark.parametrize(
    "link",
    [
        hard_link,
        soft_link,
        relative_soft_link,
        link_to_a_soft_link,
        hard_link_to_a_group,
        soft_link_to_a_group,
        group_linked_twice_at_two_levels,
        links,
    ],
)
@pytest.mark.parametrize("track_order", [False, True])
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_packs_every_name_of_a_dataset_in_one_entry(
    tmp_path: Path, link: Callable[[Any], list[str]], suffix: str, *, track_order: bool
) -> None:
    path = tmp_path / f"m{suffix}"
    with h5py.File(tmp_path / "m.h5", "w", track_order=track_order) as file:
        file[NAME] = WEIGHTS
        names = {NAME, *link(file)}
    if suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", "{}")
            archive.write(tmp_path / "m.h5", "model.weights.h5")
    packed = pack(path, tmp_path / "m.vggq", bits=8)
    assert packed.remarks == ()
    assert {tensor.name for tensor in packed.manifest.tensors} == names
    assert len({tensor.entry for tensor in packed.manifest.tensors}) == 1
    restored = vggq.load(packed.target)
    assert all(restored[name] is restored[NAME] for name in names)
    np.testing.assert_allclose(restored[NAME], WEIGHTS, atol=0.05)


def read_names(path: Path, *drop: str, layout: str | None = None) -> list[str]:
    with open_source(path, ReadOptions(layout, drop=drop)) as source:
        return [tensor.name for tensor in source.tensors]


def remarks_of(path: Path, layout: str | None = None) -> tuple[str, ...]:
    with open_source(path, ReadOptions(layout)) as source:
        return source.remarks


@pytest.mark.parametrize("hard", [True, False])
def test_a_link_to_a_group_above_is_named_in_a_remark(tmp_path: Path, *, hard: bool) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file[NAME] = WEIGHTS
        file["layers/embed/up"] = file["layers"] if hard else h5py.SoftLink("/layers")
        file["layers/root"] = file["/"] if hard else h5py.SoftLink("/")
    assert read_names(path) == [NAME]
    links_back = "the links back to a group above them 'layers/root', 'layers/embed/up'"
    assert remarks_of(path) == (f"not packed: {links_back}",)


@pytest.mark.parametrize(
    ("target", "shown"), [("/nowhere", "/nowhere"), ("/dangling", "/dangling"), ("a/b", "a/b")]
)
@pytest.mark.parametrize("layout", [None, "torch"])
def test_a_dangling_soft_link_is_an_error_or_dropped(
    tmp_path: Path, target: str, shown: str, layout: str | None
) -> None:
    path = save_legacy(tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        file["dangling"] = h5py.SoftLink(target)
    with pytest.raises(SourceError) as caught:
        read_names(path, layout=layout)
    message = str(caught.value).removeprefix(f"{path}: ")
    assert message.startswith("tensor 'dangling': ")
    problem = f"a soft link to {shown!r}, which does not exist"
    assert problem_of(message, count=1) == problem
    assert len(read_names(path, "dangling", layout=layout)) == 2


def test_a_link_to_another_file_is_not_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["w"] = WEIGHTS
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file[NAME] = WEIGHTS
        file["link"] = h5py.ExternalLink("other.h5", "/w")
        file["group"] = h5py.ExternalLink("gone.h5", "/")
        file["over"] = h5py.SoftLink("/link")
    with pytest.raises(SourceError) as caught:
        read_names(path)
    message = str(caught.value).removeprefix(f"{path}: ")
    assert message.startswith("tensor 'group': ")
    expected = "a link to the file 'gone.h5'; copy its content instead"
    assert problem_of(message, count=3) == expected
    with pytest.raises(SourceError, match="tensor 'over': stored in another file"):
        read_names(path, "group", "link")
    assert read_names(path, "group", "link", "over") == [NAME]


def save_legacy(path: Path) -> Path:
    """Write two layers as Keras 2 does; the second has the weights of the first."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["a", "b"]
        for layer in ("a", "b"):
            file.create_group(layer).attrs["weight_names"] = [f"{layer}/kernel:0"]
        file["a/a/kernel:0"] = WEIGHTS
        file["b/b/kernel:0"] = file["a/a/kernel:0"]
    return path


def test_layout_torch_keeps_the_names_of_layers_that_share_a_weight(tmp_path: Path) -> None:
    path = save_legacy(tmp_path / "m.h5")
    assert remarks_of(path, "torch") == ()
    restored = vggq.load(pack(path, tmp_path / "m.vggq", layout="torch").target)
    assert sorted(restored) == ["a.weight", "b.weight"]
    assert restored["a.weight"] is restored["b.weight"]


def dense(name: str) -> dict[str, Any]:
    return {"class_name": "Dense", "config": {"name": name, "use_bias": False}}


def sequential(name: str, *layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


NESTED = "layers/sequential/layers/dense", "layers/sequential_1/layers/dense"


@pytest.mark.parametrize("linked", ["group", "dataset"])
@pytest.mark.parametrize(
    ("config", "groups", "names"),
    [
        (
            sequential("m", dense("x"), dense("y")),
            ("layers/dense", "layers/dense_1"),
            ["x.weight", "y.weight"],
        ),
        (
            sequential("m", sequential("a", dense("x")), sequential("b", dense("x"))),
            NESTED,
            ["a.x.weight", "b.x.weight"],
        ),
    ],
)
def test_layout_torch_keeps_the_names_of_shared_layers_in_an_archive(
    tmp_path: Path, config: dict[str, Any], groups: tuple[str, str], names: list[str], linked: str
) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        first, second = groups
        file[f"{first}/vars/0"] = WEIGHTS
        suffix = "" if linked == "group" else "/vars/0"
        file[f"{second}{suffix}"] = file[f"{first}{suffix}"]
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.write(tmp_path / "w.h5", "model.weights.h5")
    packed = pack(path, tmp_path / "m.vggq", layout="torch")
    assert packed.remarks == ("not packed: the records 'config.json'",)
    restored = vggq.load(packed.target)
    assert list(restored) == names
    assert restored[names[0]] is restored[names[1]]


def test_layout_torch_names_what_it_leaves_out(tmp_path: Path) -> None:
    path = save_legacy(tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        file["extra"] = file["a/a/kernel:0"]
        file["optimizer_weights/adam/m:0"] = WEIGHTS
        file.attrs["training_config"] = "{}"
        file.attrs["epoch"] = 3
    (remark,) = remarks_of(path, "torch")
    assert remark == (
        "not packed: the state of training 'optimizer_weights/adam/m:0'; the further names of "
        "packed weights 'extra'; the attributes 'epoch', 'training_config'"
    )
    names = ["a/a/kernel:0", "b/b/kernel:0", "extra", "optimizer_weights/adam/m:0"]
    assert read_names(path) == names


@pytest.mark.parametrize("dtype", ["f4", "S3"])
def test_layout_torch_rejects_datasets_of_no_layer(tmp_path: Path, dtype: str) -> None:
    path = save_legacy(tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        file["lost"] = np.zeros(3, dtype)
    with pytest.raises(SourceError) as caught:
        read_names(path, layout="torch")
    message = str(caught.value).removeprefix(f"{path}: ")
    assert message.startswith("tensor 'lost': ")
    expected = "layout = 'torch' finds no layer of this weight"
    assert problem_of(message, count=1) == expected
    assert read_names(path, "lost", layout="torch") == ["a.weight", "b.weight"]


def test_attributes_that_only_serve_to_read_a_file_are_no_remark(tmp_path: Path) -> None:
    path = save_legacy(tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        file.attrs["backend"], file.attrs["keras_version"] = "jax", "3.15.1"
        file["a"].attrs["weight_names0"] = ["x"]
        file["a"].attrs["name"] = "a"
    assert remarks_of(path) == ()
    with h5py.File(path, "a") as file:
        file["a/a/kernel:0"].attrs["unit"] = "m"
        file["a"].attrs["note"] = "?"
    assert remarks_of(path) == ("not packed: the attributes 'note', 'unit'",)


def test_reading_rejects_deeply_nested_groups(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["/".join(["g"] * 300)] = WEIGHTS
    with h5py.File(path) as file:
        (name,) = read_tree(file, max_depth=301).datasets
        assert name.count("/") == 299
        with pytest.raises(SourceError, match="groups that are nested more than 10 deep"):
            read_tree(file, max_depth=10)
    with pytest.raises(SourceError, match="groups that are nested more than 256 deep"):
        read_names(path)


def test_counts_the_names_that_links_add(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        for index in range(20):
            file[f"g/{index}"] = index
        file["h"] = file["g"]
        assert len(read_tree(file, max_further_names=21).datasets) == 40
        with pytest.raises(SourceError, match="its links give more than 20 further names"):
            read_tree(file, max_further_names=20)


def test_many_links_are_rejected_quickly(tmp_path: Path) -> None:
    """Two links to one group at each of 60 levels would give 2^60 names."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        group = file
        for _ in range(60):
            inner = group.create_group("a")
            group["b"] = inner
            group = inner
        group["w"] = WEIGHTS
    start = time.process_time()
    with pytest.raises(SourceError, match="its links give more than 8192 further names"):
        read_names(path)
    assert time.process_time() - start < 5
