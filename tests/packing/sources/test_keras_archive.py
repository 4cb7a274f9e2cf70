"""The .keras archive: valid, damaged and hostile ones."""

from __future__ import annotations

import io
import json
import random
import tracemalloc
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from vggq.errors import SourceError
from vggq.packing.sources import ReadOptions, identify_format, open_source

from .problems import problem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]

RNG = np.random.default_rng(21)
ADVICE = "; without `layout` the weights keep Keras's names and axes"
WEIGHTS: State = {
    "layers/dense/vars/0": RNG.standard_normal((6, 4)).astype(np.float32),
    "layers/dense/vars/1": RNG.standard_normal(4).astype(np.float32),
    "layers/gru/cell/vars/0": RNG.standard_normal((4, 6)).astype(np.float32),
    "layers/gru/cell/vars/1": RNG.standard_normal((2, 6)).astype(np.float32),
    "layers/gru/cell/vars/2": RNG.standard_normal((2, 6)).astype(np.float32),
    "layers/random_flip/seed_generator/vars/0": np.zeros(2, np.uint32),
    "optimizer/vars/0": RNG.standard_normal((6, 4)).astype(np.float32),
}


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": kind, "config": {"name": name, **config}}


LAYERS = [
    layer("Dense", "dé/1", use_bias=True),
    layer("RandomFlip", "flip"),
    layer("GRU", "gru", reset_after=True),
]


def hdf5(state: State) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as tensors:
        for name, array in state.items():
            tensors[name] = array
    return file.getvalue()


def model(layers: Any) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "m", "layers": layers}}


def save(
    path: Path,
    weights: State = WEIGHTS,
    layers: Any = LAYERS,
    compression: int = zipfile.ZIP_STORED,
    members: dict[str, bytes] | None = None,
) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", json.dumps(model(layers)))
        archive.writestr("model.weights.h5", hdf5(weights))
        for name, content in (members or {}).items():
            archive.writestr(name, content)
    return path


def read(path: Path, layout: str | None = None, drop: Sequence[str] = ()) -> State:
    with open_source(path, ReadOptions(layout, drop=drop)) as source:
        return {tensor.name: tensor.read() for tensor in source.tensors}


def error_of(path: Path, layout: str | None = None) -> str:
    with pytest.raises(SourceError) as caught:
        read(path, layout)
    assert caught.value.path == path
    return str(caught.value).removeprefix(f"{path}: ")


def same(found: State, expected: State) -> bool:
    return {n: (a.shape, a.tobytes()) for n, a in found.items()} == {
        n: (a.shape, a.tobytes()) for n, a in expected.items()
    }


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_reads_tensors_with_and_without_layout(tmp_path: Path, compression: int) -> None:
    path = save(tmp_path / "m.keras", compression=compression)
    assert identify_format(path).name == "keras"
    assert same(read(path), WEIGHTS)
    found = read(path, "torch")
    z, r, h = np.split(WEIGHTS["layers/gru/cell/vars/2"][1], 3)
    np.testing.assert_array_equal(found["gru.bias_hh_l0"], np.concatenate([r, z, h]))
    np.testing.assert_array_equal(found["dé/1.weight"], WEIGHTS["layers/dense/vars/0"].T)
    assert sorted(found) == [
        "dé/1.bias", "dé/1.weight", "gru.bias_hh_l0", "gru.bias_ih_l0", "gru.weight_hh_l0",
        "gru.weight_ih_l0",
    ]  # fmt: skip


@pytest.mark.parametrize("layout", [None, "torch"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damage_gives_an_error_or_harmless_values(
    tmp_path: Path, compression: int, layout: str | None
) -> None:
    path = save(tmp_path / "m.keras", compression=compression)
    expected, data = read(path, layout), path.read_bytes()
    rng = random.Random(7)
    for _ in range(200):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with suppress(SourceError):
            assert same(read(path, layout), expected)
    for length in np.linspace(0, len(data) - 1, 50, dtype=int):
        path.write_bytes(data[:length])
        with pytest.raises(SourceError):
            read(path, layout)


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a\\b", "a/../../b"])
def test_open_rejects_record_names_that_lead_out(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "m.keras", members={name: b"?"})
    assert error_of(path) == f"the record name {name!r} leads out of the archive"


def test_a_record_may_have_no_name(tmp_path: Path) -> None:
    path = save(tmp_path / "m.keras", members={"#record": b"?"})
    path.write_bytes(path.read_bytes().replace(b"#record", b"\0record"))
    with open_source(path, ReadOptions()) as source:
        assert source.remarks == ("not packed: the records 'config.json', ''",)


def test_open_rejects_archives_that_are_no_models(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "[]")
    message = "found 0 records 'model.weights.h5' in the zip archive, expected 1"
    assert error_of(path) == message
    assert error_of(path, "torch") == message
    path.write_bytes(b"PK\x03\x04" + bytes(22) + b"\x0b\0\0\0config.json")
    assert error_of(path) == "damaged archive: File is not a zip file"
    save(path)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model.weights.h5", hdf5(WEIGHTS))
    assert error_of(path) == message.replace("found 0", "found 2")


def test_open_rejects_weights_that_are_not_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"hello")
    assert error_of(path).startswith("cannot be read as HDF5: ")


def test_open_rejects_other_compression_methods(tmp_path: Path) -> None:
    path = save(tmp_path / "m.keras", compression=zipfile.ZIP_LZMA)
    assert error_of(path) == (
        "the record 'model.weights.h5' uses a compression method other than deflate"
    )


def patch_size(path: Path, name: str, size: int) -> None:
    """Change the uncompressed size of a record in the archive's directory."""
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02"))
    while bytes(data[entry + 46 : entry + 46 + len(name)]) != name.encode():
        entry = data.index(b"PK\x01\x02", entry + 4)
    data[entry + 24 : entry + 28] = size.to_bytes(4, "little")
    path.write_bytes(data)


def test_open_rejects_zip_bombs(tmp_path: Path) -> None:
    """Records are rejected by their declared size, and not unpacked beyond it."""
    path = save(tmp_path / "m.keras", compression=zipfile.ZIP_DEFLATED)
    patch_size(path, "model.weights.h5", 1 << 31)
    assert "to 2147483648 bytes, as only a zip bomb does" in error_of(path)
    patch_size(path, "model.weights.h5", 100)
    assert "Bad CRC-32" in error_of(path)
    save(path)
    patch_size(path, "config.json", (1 << 26) + 1)
    assert error_of(path, "torch") == (
        "the record 'config.json' has 67108865 bytes, more than the limit of 67108864"
    )
    assert same(read(path), WEIGHTS)


def shape_bomb(file: Any) -> None:
    file.create_dataset("w", (1 << 20, 1 << 20), "f4", chunks=(1 << 10, 1 << 10))


def external(file: Any) -> None:
    file.create_dataset("w", (8,), "u1", external=[("/etc/hostname", 0, 8)])


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "w", (4,))
    file.create_virtual_dataset("w", layout)


ELSEWHERE = "stored in another file, which is not supported"
EXTERNAL = "a link to the file 'other.h5'; copy its content instead"


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (shape_bomb, "its shape needs 4398046511104 bytes, but the file stores only 0"),
        (external, ELSEWHERE),
        (virtual, ELSEWHERE),
    ],
)
def test_open_rejects_tensors_that_are_not_in_the_file(
    tmp_path: Path, make: Callable[[Any], None], message: str, suffix: str
) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["own"] = np.zeros(3)
        make(file)
    path = tmp_path / f"m{suffix}"
    if suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")
            archive.write(tmp_path / "m.h5", "model.weights.h5")
    assert problem_of(error_of(path), count=1) == message
    assert list(read(path, drop=("w",))) == ["own"]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_read_rejects_addresses_beyond_the_end(tmp_path: Path, compression: int) -> None:
    """HDF5 may read at an address outside the file, or of more than 63 bits."""
    state, path = {"w": np.arange(300, dtype=np.float32)}, tmp_path / "m.keras"
    data = hdf5(state)
    address = data.index(state["w"].tobytes()).to_bytes(8, "little")
    assert data.count(address) == 1
    for wrong in (b"\xfe" * 8, (len(data) - 8).to_bytes(8, "little")):
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("config.json", "{}")
            archive.writestr("model.weights.h5", data.replace(address, wrong))
        assert error_of(path)


def test_open_rejects_links_to_other_files(tmp_path: Path) -> None:
    """A legacy file lists the names of its weights, and a name may be a link."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["w"] = np.zeros((2, 2), np.float32)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["layer_names"] = ["x"]
        file.create_group("x").attrs["weight_names"] = ["kernel:0"]
        file["x/kernel:0"] = h5py.ExternalLink("other.h5", "w")
        file["own"] = np.zeros(3)
    path = tmp_path / "m.h5"
    message = error_of(path, "torch")
    assert message.startswith("tensor 'x.weight': ")
    assert problem_of(message) == ELSEWHERE
    assert problem_of(error_of(path), count=1) == EXTERNAL
    assert list(read(path, drop=("x/kernel:0",))) == ["own"]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [*LAYERS, layer("Dense", "two")],
            (
                "layer 'two': its weights are not at its place in the file; of a layer that two "
                "models share, Keras stores the weights in one of them only"
            ),
        ),
        (
            [layer("Dense", "d", use_bias=False), *LAYERS[1:]],
            f"layer 'd' (Dense): expected 1 weights, found 2{ADVICE}",
        ),
        (
            [*LAYERS[:2], layer("GRU", "g", reset_after=True, use_bias=False)],
            f"layer 'g' (GRU): expected 2 weights, found 3{ADVICE}",
        ),
        ([{"class_name": "Dense"}], "the configuration of the model is damaged"),
        ([None], "the configuration of the model is damaged"),
    ],
)
def test_open_rejects_a_configuration_that_does_not_fit(
    tmp_path: Path, layers: Any, message: str
) -> None:
    assert error_of(save(tmp_path / "m.keras", layers=layers), "torch") == message


@pytest.mark.parametrize(
    ("layers", "lost"), [([], WEIGHTS), (LAYERS[:2], {n for n in WEIGHTS if "gru" in n})]
)
def test_open_rejects_weights_of_no_layer(tmp_path: Path, layers: Any, lost: set[str]) -> None:
    path = save(tmp_path / "m.keras", layers=layers)
    lost = {name for name in lost if name.startswith(("layers/dense", "layers/gru"))}
    message = error_of(path, "torch")
    assert message.startswith(f"tensor {min(lost)!r}: ")
    assert problem_of(message, count=len(lost)) == "layout = 'torch' finds no layer of this weight"
    kept = {"dé/1.weight", "dé/1.bias"} if layers else set()
    if kept:
        assert set(read(path, "torch", drop=("layers/gru/*",))) == kept


def test_a_layer_that_torch_lacks_is_an_error_or_dropped(tmp_path: Path) -> None:
    layers = [layer("Dense", "d"), LAYERS[1], layer("GRU", "gru")]
    path = save(tmp_path / "m.keras", layers=layers)
    assert problem_of(error_of(path, "torch"), count=3) == (
        f"layer 'gru' (GRU): reset_after = False has no counterpart in torch{ADVICE}"
    )
    assert set(read(path, "torch", drop=("gru.*",))) == {"d.weight", "d.bias"}


def test_open_survives_deeply_nested_configurations(tmp_path: Path) -> None:
    deep: dict[str, Any] = layer("Dense", "d")
    for _ in range(150):
        deep = model([deep])
    path = save(tmp_path / "m.keras", layers=[deep])
    assert error_of(path, "torch").startswith("layer 'm': its weights are not at its place")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "[" * 100_000)
        archive.writestr("model.weights.h5", hdf5(WEIGHTS))
    assert error_of(path, "torch") == "the configuration of the model is damaged"


def test_reads_weights_of_keras_2_12(tmp_path: Path) -> None:
    """Keras 2.12 counted each layer twice, and wrote no names."""
    container = "_layer_checkpoint_dependencies"
    first, second = RNG.standard_normal((2, 3, 3))
    weights = {
        f"{container}/dense_10/vars/0": second,
        f"{container}/dense_2/vars/0": first,
        "metrics/mean/vars/0": np.zeros(()),
    }
    layers = [layer("Dense", name, use_bias=False) for name in ("one", "two")]
    found = read(save(tmp_path / "m.keras", weights, layers), "torch")
    assert same(found, {"one.weight": first.T, "two.weight": second.T})


def test_only_one_tensor_is_in_memory(tmp_path: Path) -> None:
    size = 1 << 20
    weights = {f"layers/w/vars/{i}": np.zeros(size, np.float32) for i in range(16)}
    path = save(tmp_path / "m.keras", weights)
    tracemalloc.start()
    try:
        with open_source(path) as source:
            for tensor in source.tensors:
                tensor.read()
        assert tracemalloc.get_traced_memory()[1] < 4 * size * 4
    finally:
        tracemalloc.stop()
