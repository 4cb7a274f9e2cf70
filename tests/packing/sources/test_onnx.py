"""ONNX models are read bit for bit as onnx reads them, with external data."""

from __future__ import annotations

import os
import random
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import vggq
from tests.helpers import save_initializers, save_onnx
from vggq._dtypes import STORAGE
from vggq.errors import SourceError, VggqError
from vggq.packing import pack
from vggq.packing.sources import ReadOptions, list_source_files, open_source

from .problems import problem_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RNG = np.random.default_rng(8)
WEIGHTS = RNG.standard_normal((30, 40)).astype(np.float32)

# Values of each supported ONNX type that need all of its bits.
EDGES: dict[str, list[Any]] = {
    "FLOAT": [0.1, -0.0, 1e-45, 3e38, float("inf"), float("nan")],
    "DOUBLE": [0.1, -0.0, 5e-324, 1e308, float("inf"), float("nan")],
    "FLOAT16": [0.1, -0.0, 6e-8, 65504.0, float("inf"), float("nan")],
    "BFLOAT16": [0.1, -0.0, 1e-40, 3e38, float("inf"), float("nan")],
    "INT8": [-128, -1, 0, 1, 2, 127],
    "INT16": [-(2**15), -1, 0, 1, 2, 2**15 - 1],
    "INT32": [-(2**31), -1, 0, 1, 2, 2**31 - 1],
    "INT64": [-(2**63), -1, 0, 1, 2, 2**63 - 1],
    "UINT8": [0, 1, 2, 3, 254, 255],
    "UINT16": [0, 1, 2, 3, 4, 2**16 - 1],
    "UINT32": [0, 1, 2, 3, 4, 2**32 - 1],
    "UINT64": [0, 1, 2, 3, 4, 2**64 - 1],
    "BOOL": [True, False, False, True, True, False],
    "FLOAT8E4M3FN": [0.125, -0.0, 448.0, -1.5, 2.0**-9, float("nan")],
    "FLOAT8E5M2": [0.125, -0.0, 57344.0, -1.5, float("inf"), float("nan")],
    "COMPLEX64": [0.1 + 1e-45j, -0.0 - 3e38j, 1j, 2, complex("inf"), complex("nan")],
    "COMPLEX128": [0.1 + 5e-324j, -0.0 - 1e308j, 1j, 2, complex("inf"), complex("nan")],
}


def typed(kind: str) -> TensorProto:
    number = TensorProto.DataType.Value(kind)
    return helper.make_tensor(kind, number, (2, 3), EDGES[kind])


def raw(kind: str) -> TensorProto:
    array = numpy_helper.to_array(typed(kind))
    return helper.make_tensor(
        kind, TensorProto.DataType.Value(kind), (2, 3), array.tobytes(), raw=True
    )


def external(path: Path, *, in_one: bool = True) -> Path:
    """Move the values of a model into other files, as onnx does it."""
    onnx.save(
        onnx.load(path),
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=in_one,
        location="m.data",
        size_threshold=0,
    )
    return path


TENSORS = ReadOptions(restore="tensors")


def read(path: Path, *drop: str) -> dict[str, NDArray[Any]]:
    with open_source(path, replace(TENSORS, drop=drop)) as source:
        return {tensor.name: tensor.read() for tensor in source.tensors}


def error_of(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read(path)
    assert caught.value.path == path
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("kind", EDGES)
@pytest.mark.parametrize("how", ["typed", "raw", "external"])
def test_reads_every_type_as_onnx_does(tmp_path: Path, kind: str, how: str) -> None:
    tensor = typed(kind) if how == "typed" else raw(kind)
    assert tensor.HasField("raw_data") == (how != "typed")
    path = save_initializers(tmp_path / "m.onnx", [tensor])
    if how == "external":
        external(path)
    expected = numpy_helper.to_array(onnx.load(path).graph.initializer[0])
    with open_source(path, TENSORS) as source:
        (found,) = source.tensors
        values = found.read()
    assert values.dtype == STORAGE[found.dtype]
    assert found.shape == values.shape == expected.shape
    assert values.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "kind",
    [
        "STRING", "INT4", "UINT4", "FLOAT4E2M1", "FLOAT8E4M3FNUZ", "FLOAT8E5M2FNUZ", "FLOAT8E8M0",
        "UNDEFINED",
    ],
)  # fmt: skip
def test_open_rejects_unsupported_types_by_name(tmp_path: Path, kind: str) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.DataType.Value(kind), dims=[2])
    path = save_initializers(tmp_path / "m.onnx", [tensor, typed("FLOAT")])
    assert problem_of(error_of(path), count=1) == f"the dtype {kind} is not supported"
    assert list(read(path, "w")) == ["FLOAT"]


def test_open_rejects_unknown_types_by_number(tmp_path: Path) -> None:
    path = save_initializers(
        tmp_path / "m.onnx", [TensorProto(name="w", data_type=99, dims=[2], raw_data=b"12")]
    )
    assert problem_of(error_of(path)) == "the dtype number 99 is not supported"


def test_open_rejects_more_dimensions_than_numpy_1_allows(tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1] * 33, float_data=[1.0])
    path = save_initializers(tmp_path / "m.onnx", [tensor, typed("FLOAT")])
    message = "tensors of more than 32 dimensions are not supported"
    assert problem_of(error_of(path)) == message
    assert list(read(path, "w")) == ["FLOAT"]


def test_open_rejects_segments_of_tensors(tmp_path: Path) -> None:
    values = numpy_helper.from_array(np.ones(2, np.float32), "w")
    values.segment.begin = 0
    path = save_initializers(tmp_path / "m.onnx", [values, typed("FLOAT")])
    assert problem_of(error_of(path), count=1) == "segments of tensors are not supported"
    assert list(read(path, "w")) == ["FLOAT"]


FLOATS = np.arange(6, dtype="<f4").tobytes()


@pytest.mark.parametrize(
    ("dims", "fields", "message"),
    [
        ([7], {"raw_data": FLOATS}, "has 6 values, but its shape needs 7"),
        ([5], {"raw_data": FLOATS}, "has 6 values, but its shape needs 5"),
        (
            [5],
            {"raw_data": FLOATS[:-1]},
            "has 23 bytes, which is not a multiple of 4, the size of F32",
        ),
        ([2], {"float_data": [1.0]}, "has 1 values, but its shape needs 2"),
        ([2], {"double_data": [1.0, 2.0]}, "has 0 values, but its shape needs 2"),
    ],
)
def test_read_rejects_values_that_do_not_fit_the_shape(
    tmp_path: Path, dims: list[int], fields: dict[str, Any], message: str
) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, **fields)
    path = save_initializers(tmp_path / "m.onnx", [tensor])
    assert error_of(path) == f"tensor 'w': {message}"


@pytest.mark.parametrize("dims", [[-1], [0, 2**62], [2**40, 2**40]])
def test_open_rejects_invalid_shapes(tmp_path: Path, dims: list[int]) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=FLOATS)
    path = save_initializers(tmp_path / "m.onnx", [tensor])
    assert problem_of(error_of(path), count=1) == f"the shape {dims} is invalid"


def test_open_rejects_truncated_models(tmp_path: Path) -> None:
    path = save_onnx(tmp_path / "m.onnx", {"w": WEIGHTS})
    model = onnx.load(path)
    del model.opset_import[:]
    path.write_bytes(model.SerializeToString())
    assert error_of(path) == "truncated: the model names no operator sets"


def test_open_rejects_files_that_are_no_models(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\x01\x12\x00")
    assert error_of(path) == "the suffix is that of onnx, but the content is not onnx"
    path.write_bytes(b"\x08\x0a:\xff\xff\xff\xff\x07")
    assert error_of(path).startswith("cannot be read as ONNX: ")
    save_onnx(path, {})
    assert error_of(path) == "contains no tensors"
    with open_source(path) as source:
        assert (source.restore, source.tensors) == ("model", [])


def test_open_rejects_layouts_and_keys(tmp_path: Path) -> None:
    path = save_onnx(tmp_path / "m.onnx", {"w": WEIGHTS})
    for options in (ReadOptions(layout="torch"), ReadOptions(key="model")):
        for restore in ("tensors", None):
            with (
                pytest.raises(VggqError, match="layout" if options.layout else "key"),
                open_source(path, replace(options, restore=restore)),
            ):
                pass


def save_external(folder: Path, location: str | None, **entries: object) -> Path:
    """Write a model of one tensor, whose six floats are in another file."""
    tensor = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[2, 3], data_location=TensorProto.EXTERNAL
    )
    if location is not None:
        entries = {"location": location, **entries}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return save_initializers(folder / "m.onnx", [tensor])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "part").mkdir(parents=True)
    for place in (tmp_path, folder, folder / "part"):
        (place / "w.bin").write_bytes(b"1234" + FLOATS + b"56")
    return folder


def test_reads_external_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_external(folder, "part/w.bin", offset=4, length=24, checksum="?", basepath="?")
    assert read(path)["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert list_source_files(path) == [path, folder / "part" / "w.bin"]
    monkeypatch.chdir(folder)
    relative = path.relative_to(folder)
    assert read(relative)["w"].tobytes() == FLOATS
    assert read(save_external(folder, "w.bin", offset=4))["w"].tobytes() == FLOATS


def test_reads_external_data_through_links_within_the_folder(folder: Path) -> None:
    (folder / "link").symlink_to("part/w.bin")
    path = save_external(folder, "link", offset=4)
    assert read(path)["w"].tobytes() == FLOATS
    assert list_source_files(path) == [path, folder / "link"]


OUTSIDE = "is outside the model's folder; copy that file into it"
MISSING = "does not exist"


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("../w.bin", OUTSIDE),
        ("part/../w.bin", OUTSIDE),
        ("..\\w.bin", OUTSIDE),
        ("/etc/passwd", OUTSIDE),
        ("C:\\w.bin", OUTSIDE),
        ("\\\\host\\share\\w.bin", OUTSIDE),
        ("link", OUTSIDE),
        ("up/w.bin", OUTSIDE),
        ("gone", MISSING),
        ("part", MISSING),
        ("", MISSING),
        ("pipe", MISSING),
        ("w.bin/more", MISSING),
        ("x" * 5000, MISSING),
        ("a\0b", MISSING),
        ("loop", MISSING),
    ],
)
def test_open_rejects_external_data_outside_the_folder(
    folder: Path, location: str, reason: str
) -> None:
    (folder / "link").symlink_to("../w.bin")
    (folder / "up").symlink_to("..")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    path = save_external(folder, location)
    message = f"tensor 'w': its data file {location!r} {reason}"
    assert error_of(path) == message
    with pytest.raises(SourceError) as caught:
        list_source_files(path)
    assert str(caught.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"offset": 7}, "ends at byte 31 of 'w.bin', which has only 30 bytes"),
        ({"offset": 10**17}, f"ends at byte {10**17 + 24} of 'w.bin', which has only 30 bytes"),
        ({"length": 25}, "its shape needs 24 bytes, but it has 25 in 'w.bin'"),
        ({"length": 0}, "its shape needs 24 bytes, but it has 0 in 'w.bin'"),
        ({"offset": -1}, "the offset of its data is '-1', not a number of bytes"),
        ({"offset": "1_0"}, "the offset of its data is '1_0', not a number of bytes"),
        ({"offset": "٣"}, "the offset of its data is '٣', not a number of bytes"),
        ({"length": ""}, "the length of its data is '', not a number of bytes"),
        (
            {"length": "9" * 5000},
            f"the length of its data is '{'9' * 5000}', not a number of bytes",
        ),
    ],
)
def test_open_rejects_wrong_offsets_and_lengths(
    folder: Path, entries: dict[str, object], message: str
) -> None:
    assert error_of(save_external(folder, "w.bin", **entries)) == f"tensor 'w': {message}"


def test_open_rejects_unknown_entries_of_external_data(folder: Path) -> None:
    """Without its offset, a tensor would get other bytes of the file."""
    problem = problem_of(error_of(save_external(folder, "w.bin", offseT=4)), count=1)
    assert problem == "its external data has the unknown key 'offseT'"


def test_open_rejects_values_in_two_places(folder: Path) -> None:
    path = save_external(folder, "w.bin", offset=4)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].float_data.append(1.0)
    onnx.save(model, path)
    problem = problem_of(error_of(path), count=1)
    assert problem == "has values both in the model and in external data"


def test_open_rejects_external_data_without_location(folder: Path) -> None:
    assert error_of(save_external(folder, None)) == "tensor 'w': its data file '' does not exist"


def test_names_that_are_not_unicode_are_made_readable(folder: Path) -> None:
    path = save_external(folder, "w.bin", offset=4)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"w.bin", b"\xffbin."))
    assert error_of(path) == "tensor 'w': its data file '\\udcffbin.' does not exist"
    path.write_bytes(data.replace(b"\x42\x01w", b"\x42\x01\xff"))
    assert list(read(path)) == ["\\xff"]


def test_read_rejects_external_data_that_changed_since_open(folder: Path) -> None:
    path = save_external(folder, "w.bin", offset=4)
    with open_source(path) as source:
        (tensor,) = source.tensors
        (folder / "w.bin").write_bytes(b"12345")
        with pytest.raises(SourceError) as caught:
            tensor.read()
        reason = "its data file 'w.bin' was truncated while it was read"
        assert str(caught.value) == f"{path}: tensor 'w': {reason}"
        (folder / "w.bin").unlink()
        with pytest.raises(
            SourceError, match=r"tensor 'w': its data file 'w\.bin' cannot be read: No"
        ):
            tensor.read()


@pytest.mark.parametrize("in_one", [True, False])
def test_lists_each_external_file_once_and_in_order(tmp_path: Path, *, in_one: bool) -> None:
    names = ["b", "a", "c"]
    path = save_onnx(tmp_path / "m.onnx", {name: WEIGHTS + len(name) for name in names})
    assert list_source_files(path) == [path]
    external(path, in_one=in_one)
    others = ["m.data"] if in_one else sorted(names)
    assert list_source_files(path) == [path, *(tmp_path / name for name in others)]
    assert {name: array.tobytes() for name, array in read(path).items()} == {
        tensor.name: numpy_helper.to_array(tensor).tobytes()
        for tensor in onnx.load(path).graph.initializer
    }


def test_damaged_models_with_external_data_give_errors_or_arrays(tmp_path: Path) -> None:
    path = external(save_onnx(tmp_path / "m.onnx", {"w": WEIGHTS, "b": WEIGHTS[0]}))
    model = path.read_bytes()
    rng = random.Random(6)
    for _ in range(1000):
        damaged = bytearray(model)
        damaged[rng.randrange(len(model))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with suppress(SourceError):
            read(path)
        with suppress(SourceError):
            list_source_files(path)


def test_only_one_tensor_is_in_memory(tmp_path: Path) -> None:
    arrays = {str(i): np.full(1 << 18, i, np.float32) for i in range(40)}
    path = external(save_onnx(tmp_path / "m.onnx", arrays))
    tracemalloc.start()
    try:
        with open_source(path) as source:
            for tensor in source.tensors:
                assert tensor.read()[0] == int(tensor.name)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_packs_an_onnx_model(tmp_path: Path) -> None:
    path = external(save_onnx(tmp_path / "m.onnx", {"w": WEIGHTS, "b": WEIGHTS[0]}))
    target = tmp_path / "m.vggq"
    assert pack(path, target).manifest.source_format == "onnx"
    restored = vggq.load(target)
    np.testing.assert_array_equal(restored["b"], WEIGHTS[0])
    np.testing.assert_allclose(restored["w"], WEIGHTS, atol=0.05)
