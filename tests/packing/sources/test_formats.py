"""Read checkpoints that the usual libraries wrote."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import onnx
import pytest
import safetensors.numpy
from numpy.typing import NDArray

from tests.helpers import save_npz, save_onnx
from vggq.errors import MissingDependencyError, SourceError
from vggq.packing.sources import ReadOptions, identify_format, open_source

from .problems import problem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

State = dict[str, NDArray[Any]]

RNG = np.random.default_rng(12)
STATE: State = {
    "b": RNG.standard_normal(7).astype(np.float32),
    "deep/er.name": RNG.standard_normal((3, 4)),
    "empty": np.zeros((0, 3), np.float32),
    "half": RNG.standard_normal((3, 2, 2)).astype(np.float16),
    "mask": RNG.random((4, 4)) < 0.5,
    "odd": np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, -1e-40], np.float32),
    "scalar": np.array(3, np.int32),
    "ünïcode": np.arange(5, dtype=np.uint8),
}


def save_safetensors(path: Path, state: State) -> None:
    safetensors.numpy.save_file(state, path)


def save_compressed(path: Path, state: State) -> None:
    untyped: dict[str, Any] = dict(state)
    np.savez_compressed(path, **untyped)


def save_hdf5(path: Path, state: State) -> None:
    with h5py.File(path, "w") as file:
        for name, array in state.items():
            file[name] = array


def save_chunked(path: Path, state: State) -> None:
    with h5py.File(path, "w") as file:
        for name, array in state.items():
            options = {"compression": "gzip", "chunks": True} if array.ndim and array.size else {}
            file.create_dataset(name, data=array, **options)


def save_external_onnx(path: Path, state: State) -> None:
    save_onnx(path, state)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="data", size_threshold=0)


def save_keras_archive(
    path: Path, state: State, compression: int = zipfile.ZIP_STORED, layers: object = ()
) -> None:
    """Write an archive as Keras 3 does; `layers` are those of the model's configuration."""
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        for name, array in state.items():
            file[name] = array
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": layers}}
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights.getvalue())


def save_deflated_archive(path: Path, state: State) -> None:
    save_keras_archive(path, state, zipfile.ZIP_DEFLATED)


WRITERS: dict[str, tuple[str, Callable[[Path, State], object]]] = {
    "npz": (".npz", save_npz),
    "compressed npz": (".npz", save_compressed),
    "safetensors": (".safetensors", save_safetensors),
    "hdf5": (".h5", save_hdf5),
    "chunked hdf5": (".hdf5", save_chunked),
    "onnx": (".onnx", save_onnx),
    "external onnx": (".onnx", save_external_onnx),
    "keras": (".keras", save_keras_archive),
    "deflated keras": (".keras", save_deflated_archive),
}


@pytest.fixture(params=WRITERS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    suffix, write = WRITERS[request.param]
    path = tmp_path / f"model{suffix}"
    write(path, STATE)
    return path


def read(path: Path, layout: str | None = None, drop: Sequence[str] = ()) -> State:
    with open_source(path, ReadOptions(layout, drop=drop)) as source:
        return {tensor.name: tensor.read() for tensor in source.tensors}


def test_reads_the_written_tensors(written: Path) -> None:
    with open_source(written) as source:
        assert [tensor.name for tensor in source.tensors] == sorted(STATE)
        for tensor in source.tensors:
            array = tensor.read()
            expected = STATE[tensor.name]
            assert tensor.shape == array.shape == expected.shape
            assert tensor.count == expected.size
            assert array.dtype == expected.dtype.newbyteorder("<")
            assert array.tobytes() == np.ascontiguousarray(expected).tobytes()


@pytest.mark.parametrize("label", WRITERS)
def test_preserves_every_bit_of_extreme_values(tmp_path: Path, label: str) -> None:
    state: State = {"flag": np.array([True, False])}
    for code in "bhilBHIL":
        dtype = np.dtype(code)
        limits = np.iinfo(dtype)
        state[dtype.name] = np.array([limits.min, 0, 1, limits.max], dtype)
    # safetensors has no complex128, and had no complex64 before 0.6.
    for name in () if label == "safetensors" else ("complex64", "complex128"):
        state[name] = np.array([complex(-0.0, np.inf), complex(1e-45, np.nan)], name)
    for kind in (np.float16, np.float32, np.float64):
        limits_of = np.finfo(kind)
        ends = [limits_of.min, limits_of.max, limits_of.smallest_subnormal, -0.0, np.nan, np.inf]
        state[kind.__name__] = np.array(ends, kind)
    suffix, write = WRITERS[label]
    write(tmp_path / f"m{suffix}", state)
    found = read(tmp_path / f"m{suffix}")
    assert {name: (a.dtype, a.tobytes()) for name, a in found.items()} == {
        name: (a.dtype, a.tobytes()) for name, a in state.items()
    }


def error_of(path: Path, layout: str | None = None) -> str:
    with pytest.raises(SourceError) as caught:
        read(path, layout)
    assert caught.value.path == path
    return str(caught.value).removeprefix(f"{path}: ")


def test_open_rejects_missing_files_and_folders(tmp_path: Path) -> None:
    assert error_of(tmp_path / "gone.npz") == "no such file"
    assert error_of(tmp_path) == "the folder has no files"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", b"", "the suffix is that of npz, but the file is empty"),
        ("a.h5", b"hello", "the suffix is that of keras-hdf5, but the content is not keras-hdf5"),
        ("a.h5", b"PK\x05\x06", "the suffix is that of keras-hdf5, but the content is npz"),
        ("a.npz", b"PK\x03\x04", "the suffix is that of npz, but the content is not npz"),
        (
            "a.npz",
            b"\x89HDF\r\n\x1a\n",
            "the suffix is that of npz, but the content is keras-hdf5",
        ),
        ("a.SAFETENSORS", b"\x02" + bytes(7) + b"{}", "contains no tensors"),
        (
            "a.xyz",
            b"hello",
            (
                "unknown format; the supported formats have the suffixes .h5, .hdf5, .keras, "
                ".weights.json, .safetensors, .index.json, .pth, .pt, .bin, .npz, .npy, .onnx, "
                ".tflite"
            ),
        ),
        (
            "a.h5",
            b"version https://git-lfs.github.com/spec/v1\n",
            "a Git LFS pointer, not the weights; run `git lfs pull`",
        ),
    ],
)
def test_open_explains_unsuitable_files(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert error_of(path) == message


def test_identifies_formats_without_a_known_suffix(written: Path, tmp_path: Path) -> None:
    fmt = identify_format(written)
    assert written.suffix in fmt.suffixes
    for name in ("model", "model.ckpt", "2f1b9c"):
        assert identify_format(written.rename(tmp_path / name)) is fmt
        written = tmp_path / name
    assert sorted(read(written)) == sorted(STATE)


@pytest.mark.parametrize(
    "odd",
    [
        np.array(["text"]),
        np.array([b"text"]),
        np.zeros(2, "f4,i4"),
        np.zeros(2, "M8[s]"),
        np.zeros(2, "m8[s]"),
        pytest.param(
            np.zeros(2, np.longdouble),
            marks=pytest.mark.skipif(
                np.dtype(np.longdouble) == np.float64, reason="it is float64 on this system"
            ),
        ),
        np.zeros(2, "V3"),
        np.zeros(2, [("a", "<f4", (2,))]),
    ],
    ids=lambda odd: odd.dtype.str,
)
def test_npz_rejects_unsupported_dtypes(tmp_path: Path, odd: NDArray[Any]) -> None:
    path = save_npz(tmp_path / "odd.npz", {"fine": np.zeros(3), "odd": odd})
    message = f"the dtype {odd.dtype} is not supported"
    assert problem_of(error_of(path), count=1) == message
    assert list(read(path, drop=("odd",))) == ["fine"]


def test_npz_rejects_structures_with_names_outside_latin_1(tmp_path: Path) -> None:
    """numpy stores them in version 3 of its format."""
    odd = np.zeros(2, [("\u65e5", "f4")])
    with pytest.warns(UserWarning, match="can only be read by NumPy >= 1.17"):
        path = save_npz(tmp_path / "odd.npz", {"fine": np.zeros(3), "odd": odd})
    assert problem_of(error_of(path)).endswith(" is not supported")
    assert list(read(path, drop=("odd",))) == ["fine"]


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="at most 32 dimensions")
def test_npz_rejects_more_dimensions_than_numpy_1_allows(tmp_path: Path) -> None:
    arrays: State = {"fine": np.zeros((1,) * 32), "odd": np.zeros((1,) * 33)}
    path = save_npz(tmp_path / "odd.npz", arrays)
    message = "tensors of more than 32 dimensions are not supported"
    assert problem_of(error_of(path)) == message
    assert read(path, drop=("odd",))["fine"].shape == (1,) * 32


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("exploded"),))


def test_pickled_objects_are_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    odd: Any = np.array([Bomb()], dtype=object)
    np.savez("pickled.npz", odd=odd, fine=np.zeros(3))
    path = tmp_path / "pickled.npz"
    assert problem_of(error_of(path), count=1) == "the dtype object is not supported"
    assert list(read(path, drop=("odd",))) == ["fine"]
    assert not Path("exploded").exists()


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3L",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1" + "0" * 30 + ",)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}",
        "[" * 5000,
        "-" * 9000 + "1",
    ],
)
def test_numpy_formats_reject_invalid_headers(tmp_path: Path, suffix: str, header: str) -> None:
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(12)
    path = tmp_path / f"s{suffix}"
    if suffix == ".npy":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("w.npy", content)
    with pytest.raises(SourceError):
        read(path)


def test_npy_agrees_with_numpy_about_a_dtype_that_versions_parse_differently(
    tmp_path: Path,
) -> None:
    header = "{'descr': '<f4,', 'fortran_order': False, 'shape': (3,)}"
    path = tmp_path / "s.npy"
    path.write_bytes(
        b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(12)
    )
    if np.load(path).dtype.names:
        with pytest.raises(SourceError, match="is not supported"):
            read(path)
    else:
        np.testing.assert_array_equal(read(path)["s"], np.load(path))


def save_bytes(path: Path, dtype: str, content: bytes, count: int) -> Path:
    entry = {"dtype": dtype, "shape": [count], "data_offsets": [0, len(content)]}
    header = json.dumps({"w": entry})
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + content)
    return path


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F8_E5M2"])
def test_safetensors_reads_dtypes_that_numpy_lacks(tmp_path: Path, dtype: str) -> None:
    content = bytes(range(256)) * 2
    path = save_bytes(tmp_path / "m.safetensors", dtype, content, 512 if dtype[0] == "F" else 256)
    with open_source(path) as source:
        assert source.tensors[0].dtype == dtype
        assert source.tensors[0].read().tobytes() == content


def test_open_rejects_duplicate_names(tmp_path: Path) -> None:
    path = tmp_path / "twice.npz"
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.zeros(2))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", buffer.getvalue())
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("w.npy", buffer.getvalue())
    assert error_of(path) == "2 tensors have the name 'w'"


def test_open_rejects_names_that_are_not_unicode(tmp_path: Path) -> None:
    header = json.dumps({"\ud800": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}})
    path = tmp_path / "odd.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + b"12")
    assert error_of(path) == "the tensor name '\\ud800' is not valid Unicode"


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_open_rejects_a_layout_for_other_formats_than_keras(tmp_path: Path, kind: str) -> None:
    suffix, write = WRITERS[kind]
    path = tmp_path / f"m{suffix}"
    write(path, STATE)
    assert error_of(path, "torch") == (
        f"layout = 'torch' is for Keras sources only, and this file is {kind}"
    )


@pytest.mark.parametrize(("kind", "name"), [("npz", "npz"), ("hdf5", "keras-hdf5")])
def test_open_rejects_a_key_for_other_formats_than_torch(
    tmp_path: Path, kind: str, name: str
) -> None:
    suffix, write = WRITERS[kind]
    write(tmp_path / f"m{suffix}", STATE)
    with (
        pytest.raises(SourceError) as caught,
        open_source(tmp_path / f"m{suffix}", ReadOptions(key="model")),
    ):
        pass
    assert caught.value.reason == (
        f"key = 'model' is for torch checkpoints only, and this file is {name}"
    )


def test_open_names_the_missing_library_and_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffix, write = WRITERS["hdf5"]
    write(tmp_path / f"m{suffix}", STATE)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingDependencyError) as caught:
        read(tmp_path / f"m{suffix}")
    assert str(caught.value) == "h5py is not installed: pip install 'hatch-vggq[build]'"


@pytest.mark.parametrize("kind", ["onnx", "external onnx"])
def test_onnx_is_read_without_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    suffix, write = WRITERS[kind]
    write(tmp_path / f"m{suffix}", STATE)
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    assert read(tmp_path / f"m{suffix}").keys() == STATE.keys()
