"""Keras files that are restored whole, with h5py and Keras as their readers."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vggq
from tests.packing.sources.restoring import (
    Restored,
    assert_loaded,
    check_restored,
    random_array,
    read_kept,
)
from vggq.errors import OptionError, SourceError
from vggq.packing import pack
from vggq.packing.sources import ReadOptions, open_source
from vggq.packing.sources._stored_copy import REMARK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

RNG = np.random.default_rng(6)
W: NDArray[Any] = RNG.standard_normal((200, 100)).astype(np.float32)
FILTERED = "its dataset is compressed, or has another filter"
ELSEWHERE = "stored in another file, which is not supported"
NOT_STORED = "the file does not store all of its values"


def compact(file: Any) -> None:
    """Write a dataset whose values are in its header."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((30,))
    dataset = h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, properties)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, W[0, :30].copy())


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout(W.shape, np.float32)
    layout[:] = h5py.VirtualSource(file["w"])
    file.create_virtual_dataset("x", layout)


def external(file: Any) -> None:
    path = f"{file.filename}.raw"
    with open(path, "wb") as raw:  # noqa: PTH123
        raw.write(W.tobytes())
    file.create_dataset("x", W.shape, np.float32, external=[(path, 0, W.nbytes)])


def odd_float(file: Any) -> None:
    """Write values of a type of four bytes that is not IEEE 754."""
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(31, 24, 7, 0, 24)
    kind.set_ebias(63)
    space = h5py.h5s.create_simple(W.shape)
    dataset = h5py.h5d.create(file.id, b"x", kind, space)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, W)


def late(file: Any) -> None:
    """Reserve room for values that are never written."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
    space = h5py.h5s.create_simple(W.shape)
    h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, properties)


def link_to_file(file: Any) -> None:
    file["x"] = h5py.ExternalLink("gone.h5", "/w")


NOT_PLAIN: dict[str, tuple[Callable[[Any], object], str]] = {
    "chunked": (lambda file: file.create_dataset("x", data=W, chunks=(9, 9)), "its dataset is chu"),
    "resizable": (
        lambda file: file.create_dataset("x", data=W, maxshape=(None, 100)), "its dataset is chu"
    ),
    "compressed": (lambda file: file.create_dataset("x", data=W, compression="gzip"), FILTERED),
    "shuffled": (lambda file: file.create_dataset("x", data=W, shuffle=True), FILTERED),
    "checked": (lambda file: file.create_dataset("x", data=W, fletcher32=True), FILTERED),
    "compact": (compact, "its dataset is compact"),
    "big-endian": (lambda file: file.create_dataset("x", data=W.astype(">f4")), "its byte order"),
    "virtual": (virtual, ELSEWHERE),
    "external": (external, ELSEWHERE),
    "linked": (link_to_file, "a link to the file 'gone.h5'; copy its content instead"),
    "odd type": (odd_float, "its HDF5 type is not the usual one of its dtype"),
    "not written": (late, NOT_STORED),
    "strings": (lambda file: file.create_dataset("x", data=["a", "b"]), "strings are not support"),
    "null": (lambda file: file.create_dataset("x", data=h5py.Empty("f4")), "an empty dataset,"),
    "records": (
        lambda file: file.create_dataset("x", data=np.zeros(3, [("a", "<f4"), ("b", "<f4")])),
        "the dtype [('a', '<f4'), ('b', '<f4')] is not supported",
    ),
    "reference": (
        lambda file: file.create_dataset("x", data=file["w"].ref, dtype=h5py.ref_dtype),
        "references to objects are not supported",
    ),
}  # fmt: skip


def save_hdf5(path: Path, make: Callable[[Any], object] = lambda _: None) -> Path:
    with h5py.File(path, "w") as file:
        file["w"] = W
        file.attrs["model_config"] = "{}"
        make(file)
    return path


def check_hdf5(restored: Restored, *, start: str = "") -> set[str]:
    """Read a restored file with h5py, and return the names of its datasets with a place."""
    names = set()
    with h5py.File(_open_hdf5(restored.path), "r") as file:
        for name, values in restored.values.items():
            assert_loaded(np.asarray(file[f"{start}{name}"]), values)
            names.add(name)
    return names


def _open_hdf5(path: Path) -> io.BytesIO:
    if path.suffix != ".keras":
        return io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return io.BytesIO(archive.read("model.weights.h5"))


def test_restored_hdf5_opens_in_h5py(tmp_path: Path) -> None:
    def make(file: Any) -> None:
        file["layer/half"] = W.astype(np.float16)
        file["layer/double"] = W.astype(np.float64)
        file["layer/steps"] = np.arange(9)
        file["layer/mask"] = np.array([True, False])
        file["layer/none"] = W[:0]
        file["layer/scalar"] = np.float32(1.5)
        brain = file.create_dataset("layer/brain", data=W.astype(np.float16).view("V2"))
        brain.attrs["dtype"] = "bfloat16"
        file["tied"] = file["w"]
        file["layer/soft"] = h5py.SoftLink("/w")

    source = save_hdf5(tmp_path / "m.h5", make)
    restored = check_restored(source, tmp_path / "out", bits=6)
    assert restored.kept == {}
    assert restored.packed.remarks == ()
    names = {"w", "tied", "layer/soft", "layer/half", "layer/double", "layer/brain"}
    assert restored.quantized == names
    entries = {info.name: info.entry for info in restored.packed.manifest.tensors}
    assert entries["w"] == entries["tied"] == entries["layer/soft"]
    del restored.values["layer/brain"]
    assert check_hdf5(restored) == names - {"layer/brain"} | {
        "layer/steps", "layer/mask", "layer/none", "layer/scalar"
    }  # fmt: skip
    with h5py.File(restored.path) as file:
        assert file.attrs["model_config"] == "{}"
        assert 0 < np.linalg.norm(file["w"] - W) < 0.03 * np.linalg.norm(W)


@pytest.mark.parametrize("libver", ["earliest", "v110", "latest"])
def test_every_version_of_hdf5_is_restored(tmp_path: Path, libver: str) -> None:
    source = tmp_path / "m.weights.h5"
    with h5py.File(source, "w", libver=libver) as file:
        file["layers/dense/vars/0"] = W
    restored = check_restored(source, tmp_path / "out")
    assert restored.quantized == check_hdf5(restored) == {"layers/dense/vars/0"}


@pytest.mark.parametrize("label", NOT_PLAIN)
def test_datasets_that_are_not_plain_are_kept_exactly(tmp_path: Path, label: str) -> None:
    make, problem = NOT_PLAIN[label]
    source = save_hdf5(tmp_path / "m.h5", make)
    restored = check_restored(source, tmp_path / "out")
    assert check_hdf5(restored) == restored.quantized == {"w"}
    assert restored.kept["x"].startswith(problem)


def test_remark_names_datasets_that_are_kept_exactly(tmp_path: Path) -> None:
    source = save_hdf5(tmp_path / "m.h5", NOT_PLAIN["compressed"][0])
    (remark,) = pack(source, tmp_path / "m.vggq", restore="model").remarks
    assert f"'x' (80.0 kB: {FILTERED})" in remark


@pytest.mark.parametrize("name", ["m.h5", "m.keras"])
def test_open_rejects_a_layout_of_a_restored_file(tmp_path: Path, name: str) -> None:
    """The places of a file have its own axes, not those of torch."""
    data = hdf5_bytes(tmp_path)
    if name == "m.h5":
        (tmp_path / name).write_bytes(data)
    else:
        save_archive(tmp_path / name, data)
    options = ReadOptions("torch", restore="model")
    expected = r"layout: does not apply with restore = 'model': the whole file is restored"
    with pytest.raises(OptionError, match=expected), open_source(tmp_path / name, options):
        pass


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    arrays=st.dictionaries(
        st.from_regex(r"[a-c]{1,2}/[d-f]é?", fullmatch=True),
        st.tuples(
            st.lists(st.integers(0, 9), max_size=3).map(tuple),
            st.sampled_from(["<f4", "<f8", "<f2", ">f4", "<i8", "|u1", "|b1", "<c8", ">i2"]),
            st.sampled_from(["plain", "chunked", "gzip", "tied"]),
        ),
        max_size=5,
    ),
    libver=st.sampled_from(["earliest", "latest"]),
    in_archive=st.booleans(),
    seed=st.integers(0, 99),
)
def test_random_files_are_restored(
    tmp_path_factory: pytest.TempPathFactory,
    arrays: Any,
    libver: str,
    *,
    in_archive: bool,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("random")
    rng = np.random.default_rng(seed)
    source = folder / "m.h5"
    with h5py.File(source, "w", libver=libver) as file:
        for name, (shape, dtype, kind) in arrays.items():
            options = {}
            if kind in {"chunked", "gzip"} and shape and 0 not in shape:
                options = {"chunks": True, "compression": "gzip" if kind == "gzip" else None}
            file.create_dataset(name, data=random_array(rng, shape, dtype), **options)
            if kind == "tied":
                file[f"z/{name}"] = file[name]
    if in_archive:
        source = save_archive(folder / "m.keras", source.read_bytes())
    restored = check_restored(source, folder / "out")
    check_hdf5(restored)
    assert len(restored.values) + len(restored.kept) == sum(
        1 + (kind == "tied") for _, _, kind in arrays.values()
    )


def save_archive(path: Path, weights: bytes, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps({"class_name": "Sequential"}))
        archive.writestr("model.weights.h5", weights)
        archive.writestr("assets/vocabulary.txt", "a\nb\n")
    return path


def hdf5_bytes(tmp_path: Path) -> bytes:
    return save_hdf5(tmp_path / "weights.h5").read_bytes()


def test_restored_archive_has_right_checksums(tmp_path: Path) -> None:
    source = save_archive(tmp_path / "m.keras", hdf5_bytes(tmp_path))
    restored = check_restored(source, tmp_path / "out", bits=6)
    assert check_hdf5(restored) == restored.quantized == {"w"}
    assert restored.packed.remarks == ()
    with open_source(source, ReadOptions(restore="model")) as opened:
        assert [len(checksum.fields) for checksum in opened.checksums] == [2]


def test_compressed_archive_is_restored_without_compression(tmp_path: Path) -> None:
    source = save_archive(tmp_path / "m.keras", hdf5_bytes(tmp_path), zipfile.ZIP_DEFLATED)
    restored = check_restored(source, tmp_path / "out", rewritten=True)
    assert check_hdf5(restored) == restored.quantized == {"w"}
    assert restored.packed.remarks == (REMARK,)
    with zipfile.ZipFile(restored.path) as archive:
        assert archive.read("assets/vocabulary.txt") == b"a\nb\n"


def test_archive_that_would_expand_is_kept_exactly(tmp_path: Path) -> None:
    def make(file: Any) -> None:
        for index in range(20):
            file[f"zeros/{index}"] = np.zeros(1 << 20, np.float32)

    weights = save_hdf5(tmp_path / "weights.h5", make).read_bytes()
    source = save_archive(tmp_path / "m.keras", weights, zipfile.ZIP_DEFLATED)
    kept = read_kept(source)
    assert len(kept) == 21
    assert set(kept.values()) == {"no range of the file holds exactly its values"}


def test_sharded_weights_are_restored(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    shards = {"m_00000.weights.h5": "/layers/a/vars", "m_00001.weights.h5": "/layers/b/vars"}
    for name, group in shards.items():
        with h5py.File(folder / name, "w") as file:
            file[f"{group}/0"] = W
    index = folder / "m.weights.json"
    weight_map = {group: [name] for name, group in shards.items()}
    index.write_text(
        json.dumps({"metadata": {"total_size": 2 * W.nbytes}, "weight_map": weight_map})
    )
    restored = check_restored(index, tmp_path / "out")
    assert restored.quantized == {"layers/a/vars/0", "layers/b/vars/0"}
    for name, group in shards.items():
        with h5py.File(restored.path.with_name(name)) as file:
            key = f"{group.lstrip('/')}/0"
            assert_loaded(np.asarray(file[key]), restored.values[key])


def make_model(keras: Any) -> Any:
    """Return a trained model with layers of several kinds, one of them shared."""
    inputs = keras.Input((12, 16))
    shared = keras.layers.Dense(16)
    hidden = keras.layers.Conv1D(16, 3, padding="same")(shared(shared(inputs)))
    hidden = keras.layers.BatchNormalization()(hidden)
    outputs = keras.layers.Dense(8)(keras.layers.GRU(24)(hidden))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(), keras.losses.MeanSquaredError())
    model.fit(np.ones((4, 12, 16)), np.ones((4, 8)), verbose=0)
    return model


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.weights.h5"])
def test_restored_file_opens_in_keras(tmp_path: Path, keras: Any, name: str) -> None:
    model = make_model(keras)
    source = tmp_path / name
    (model.save_weights if name == "m.weights.h5" else model.save)(source)
    restored = check_restored(source, tmp_path / "out", sqnr=40)
    assert restored.kept == {}
    check_hdf5(restored)
    loaded = load_model(keras, restored.path, model)
    inputs = np.random.default_rng(2).standard_normal((5, 12, 16)).astype(np.float32)
    expected, found = model.predict(inputs, verbose=0), loaded.predict(inputs, verbose=0)
    assert 0 < np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)
    contents = {values.tobytes() for values in restored.values.values()}
    assert all(weight.tobytes() in contents for weight in loaded.get_weights())
    original = load_model(keras, source, model)
    if name != "m.weights.h5":
        assert len(loaded.optimizer.variables) == len(original.optimizer.variables)


def load_model(keras: Any, path: Path, model: Any) -> Any:
    """Load a model, or the weights of a model."""
    if not path.name.endswith(".weights.h5"):
        return keras.models.load_model(path)
    loaded = keras.models.clone_model(model)
    loaded.load_weights(path)
    return loaded


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
def test_shards_that_keras_writes_are_restored(tmp_path: Path, keras: Any) -> None:
    model = keras.Sequential([keras.Input((80,)), *(keras.layers.Dense(80) for _ in range(4))])
    (tmp_path / "source").mkdir()
    source = tmp_path / "source" / "m.weights.json"
    model.save_weights(source, max_shard_size=6e-5)
    restored = check_restored(source, tmp_path / "out")
    with vggq.open(restored.packed.target) as weights:
        assert len(weights.members) > 2
    loaded = keras.models.clone_model(model)
    loaded.load_weights(restored.path)
    for found, values in zip(
        (weight for weight in loaded.get_weights() if weight.ndim == 2),
        (restored.values[name] for name in sorted(restored.quantized)),
        strict=True,
    ):
        assert_loaded(found, values)


def save_two(path: Path, shape: tuple[int, ...], *, at_end: bool = False) -> Path:
    """Write datasets "w" and "x"; the second has the address of the first, or one near the end."""
    with h5py.File(path, "w") as file:
        file["w"], file["x"] = W, W.reshape(shape) + 1
        first, second = (file[name].id.get_offset() for name in ("w", "x"))
    content = path.read_bytes()
    target = len(content) - W.nbytes + 4 if at_end else first
    assert content.count(second.to_bytes(8, "little")) == 1
    path.write_bytes(content.replace(second.to_bytes(8, "little"), target.to_bytes(8, "little")))
    return path


def test_datasets_at_one_address_are_one_tensor(tmp_path: Path) -> None:
    restored = check_restored(save_two(tmp_path / "m.h5", W.shape), tmp_path / "out")
    assert restored.quantized == check_hdf5(restored) == {"w", "x"}
    assert restored.values["w"].tobytes() == restored.values["x"].tobytes()


def test_datasets_of_other_shapes_at_one_address_are_kept_exactly(tmp_path: Path) -> None:
    restored = check_restored(save_two(tmp_path / "m.h5", W.T.shape), tmp_path / "out")
    assert restored.kept == dict.fromkeys(["w", "x"], "shares bytes with another tensor")


def test_dataset_that_reaches_beyond_the_file_is_an_error(tmp_path: Path) -> None:
    source = save_two(tmp_path / "m.h5", W.shape, at_end=True)
    with pytest.raises(SourceError, match="damaged HDF5 file: ") as caught:
        pack(source, tmp_path / "m.vggq", restore="model")
    assert caught.value.path == source
    assert not (tmp_path / "m.vggq").exists()
