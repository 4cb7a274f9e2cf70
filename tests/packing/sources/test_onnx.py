"""ONNX models: what onnx's own reader gives, bit for bit, and data beside the model."""

from __future__ import annotations

import os
import random
import tracemalloc
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import vggq
from tests.helpers import save_initializers, save_onnx
from vggq._dtypes import STORAGE
from vggq.errors import SourceError
from vggq.packing import pack
from vggq.packing.sources import files, open_source

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RNG = np.random.default_rng(8)
WEIGHTS = RNG.standard_normal((30, 40)).astype(np.float32)

# Each of ONNX's types that can be stored, with values that need all of its bits.
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
}
FLOAT8 = {"FLOAT8E4M3FN": "F8_E4M3", "FLOAT8E5M2": "F8_E5M2"}


def typed(kind: str) -> TensorProto:
    number = TensorProto.DataType.Value(kind)
    return helper.make_tensor(kind, number, (2, 3), EDGES[kind])


def raw(kind: str) -> TensorProto:
    array = numpy_helper.to_array(typed(kind))
    return helper.make_tensor(
        kind, TensorProto.DataType.Value(kind), (2, 3), array.tobytes(), raw=True
    )


def external(path: Path, *, in_one: bool = True) -> Path:
    """Move the data of a model into other files, as onnx does it."""
    onnx.save(
        onnx.load(path),
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=in_one,
        location="m.data",
        size_threshold=0,
    )
    return path


def read(path: Path) -> dict[str, NDArray[Any]]:
    with open_source(path) as source:
        return {tensor.name: tensor.read() for tensor in source.tensors}


def error_of(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("kind", EDGES)
@pytest.mark.parametrize("how", ["typed", "raw", "external"])
def test_every_type_is_what_onnx_reads(tmp_path: Path, kind: str, how: str) -> None:
    tensor = typed(kind) if how == "typed" else raw(kind)
    assert tensor.HasField("raw_data") == (how != "typed")
    path = save_initializers(tmp_path / "m.onnx", [tensor])
    if how == "external":
        external(path)
    if kind in FLOAT8 and FLOAT8[kind] not in STORAGE:
        assert error_of(path) == f"tensor {kind!r} is of {kind}, which is not supported"
        return
    expected = numpy_helper.to_array(onnx.load(path).graph.initializer[0])
    with open_source(path) as source:
        (found,) = source.tensors
        values = found.read()
    assert values.dtype == STORAGE[found.dtype]
    assert found.shape == values.shape == expected.shape
    assert values.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "kind",
    [
        "STRING", "COMPLEX64", "COMPLEX128", "INT4", "UINT4", "FLOAT4E2M1", "FLOAT8E4M3FNUZ",
        "FLOAT8E5M2FNUZ", "FLOAT8E8M0", "UNDEFINED",
    ],
)  # fmt: skip
def test_types_that_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.DataType.Value(kind), dims=[2])
    path = save_initializers(tmp_path / "m.onnx", [tensor])
    assert error_of(path) == f"tensor 'w' is of {kind}, which is not supported"


def test_a_type_that_is_not_yet_known(tmp_path: Path) -> None:
    path = save_initializers(
        tmp_path / "m.onnx", [TensorProto(name="w", data_type=99, dims=[2], raw_data=b"12")]
    )
    assert error_of(path) == "tensor 'w' is of type 99, which is not supported"


def test_sparse_tensors_and_segments_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    values = numpy_helper.from_array(np.ones(2, np.float32), "w")
    indices = numpy_helper.from_array(np.array([0, 3]), "i")
    sparse = helper.make_sparse_tensor(values, indices, [5])
    graph = helper.make_graph([], "g", [], [], sparse_initializer=[sparse])
    onnx.save(helper.make_model(graph), path)
    assert error_of(path) == "tensor 'w' is sparse, which is not supported"
    values.segment.begin = 0
    save_initializers(path, [values])
    assert error_of(path) == "tensor 'w' is a segment of one, which is not supported"


def test_constants_and_subgraphs_are_passed_over(tmp_path: Path) -> None:
    inner = helper.make_graph([], "b", [], [], [numpy_helper.from_array(WEIGHTS, "inner")])
    constant = numpy_helper.from_array(WEIGHTS, "constant")
    nodes = [
        helper.make_node("Constant", [], ["c"], value=constant),
        helper.make_node("If", ["x"], [], then_branch=inner, else_branch=inner),
    ]
    graph = helper.make_graph(nodes, "g", [], [], [numpy_helper.from_array(WEIGHTS, "w")])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    assert list(read(tmp_path / "m.onnx")) == ["w"]


FLOATS = np.arange(6, dtype="<f4").tobytes()


@pytest.mark.parametrize(
    ("dims", "fields", "message"),
    [
        ([7], {"raw_data": FLOATS}, "has 6 values, not the 7 of its shape"),
        ([5], {"raw_data": FLOATS}, "has 6 values, not the 5 of its shape"),
        ([5], {"raw_data": FLOATS[:-1]}, "has 23 bytes of F32, which end within a value"),
        ([2], {"float_data": [1.0]}, "has 1 values, not the 2 of its shape"),
        ([2], {"double_data": [1.0, 2.0]}, "has 0 values, not the 2 of its shape"),
        ([-1], {"raw_data": FLOATS}, "has a shape that is none: [-1]"),
        ([0, 2**62], {}, f"has a shape that is none: [0, {2**62}]"),
        ([2**40, 2**40], {}, f"has a shape that is none: [{2**40}, {2**40}]"),
        ([1] * 33, {"float_data": [1.0]}, f"has a shape that is none: {[1] * 33}"),
    ],
)
def test_data_that_is_not_of_its_shape(
    tmp_path: Path, dims: list[int], fields: dict[str, Any], message: str
) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, **fields)
    path = save_initializers(tmp_path / "m.onnx", [tensor])
    assert error_of(path) == f"tensor 'w' {message}"


def test_a_model_that_ends_before_its_operator_sets(tmp_path: Path) -> None:
    path = save_onnx(tmp_path / "m.onnx", {"w": WEIGHTS})
    model = onnx.load(path)
    del model.opset_import[:]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(SourceError, match=r"m\.onnx is cut short: it names no operator sets"):
        read(path)


def test_what_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\x01\x12\x00")
    assert error_of(path) == "its suffix is of onnx, its content is not of that format"
    path.write_bytes(b"\x08\x0a:\xff\xff\xff\xff\x07")
    with pytest.raises(SourceError, match=r"m\.onnx cannot be read as ONNX: "):
        read(path)
    save_onnx(path, {})
    with pytest.raises(SourceError, match=r"m\.onnx holds no tensors"):
        read(path)


# Data beside the model.


def beside(folder: Path, location: str | None, **facts: object) -> Path:
    """A model of one tensor, six floats in another file."""
    tensor = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[2, 3], data_location=TensorProto.EXTERNAL
    )
    if location is not None:
        facts = {"location": location, **facts}
    for key, value in facts.items():
        tensor.external_data.add(key=key, value=str(value))
    return save_initializers(folder / "m.onnx", [tensor])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "part").mkdir(parents=True)
    for place in (tmp_path, folder, folder / "part"):
        (place / "w.bin").write_bytes(b"1234" + FLOATS + b"56")
    return folder


def test_data_in_another_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = beside(folder, "part/w.bin", offset=4, length=24, checksum="?", basepath="?")
    assert read(path)["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert files(path) == [path, folder / "part" / "w.bin"]
    monkeypatch.chdir(folder)
    relative = path.relative_to(folder)
    assert read(relative)["w"].tobytes() == FLOATS
    assert read(beside(folder, "w.bin", offset=4))["w"].tobytes() == FLOATS


def test_a_link_within_the_folder_is_followed(folder: Path) -> None:
    (folder / "link").symlink_to("part/w.bin")
    path = beside(folder, "link", offset=4)
    assert read(path)["w"].tobytes() == FLOATS
    assert files(path) == [path, folder / "link"]


LEADS_OUT = "which leads out of the model's folder: copy that file into it"


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("../w.bin", LEADS_OUT),
        ("part/../w.bin", LEADS_OUT),
        ("..\\w.bin", LEADS_OUT),
        ("/etc/passwd", LEADS_OUT),
        ("C:\\w.bin", LEADS_OUT),
        ("\\\\host\\share\\w.bin", LEADS_OUT),
        ("link", LEADS_OUT),
        ("up/w.bin", LEADS_OUT),
        ("gone", "and there is no such file"),
        ("part", "and there is no such file"),
        ("", "and there is no such file"),
        ("pipe", "and there is no such file"),
        ("w.bin/more", "and there is no such file"),
        ("x" * 5000, "and there is no such file"),
        ("a\0b", "and there is no such file"),
        ("loop", "and there is no such file"),
    ],
)
def test_locations_that_are_refused(folder: Path, location: str, reason: str) -> None:
    (folder / "link").symlink_to("../w.bin")
    (folder / "up").symlink_to("..")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    path = beside(folder, location)
    message = f"tensor 'w' is in {location!r}, {reason}"
    assert error_of(path) == message
    with pytest.raises(SourceError) as caught:
        files(path)
    assert str(caught.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"offset": 7}, "ends at byte 31 of 'w.bin', which has 30"),
        ({"offset": 10**17}, f"ends at byte {10**17 + 24} of 'w.bin', which has 30"),
        ({"length": 25}, "has 24 bytes by its shape, and 25 in 'w.bin'"),
        ({"length": 0}, "has 24 bytes by its shape, and 0 in 'w.bin'"),
        ({"offset": -1}, "has the offset '-1', which is no number of bytes"),
        ({"offset": "1_0"}, "has the offset '1_0', which is no number of bytes"),
        ({"offset": "٣"}, "has the offset '٣', which is no number of bytes"),
        ({"length": ""}, "has the length '', which is no number of bytes"),
        ({"length": "9" * 5000}, f"has the length '{'9' * 5000}', which is no number of bytes"),
    ],
)
def test_extents_that_lie(folder: Path, facts: dict[str, object], message: str) -> None:
    assert error_of(beside(folder, "w.bin", **facts)) == f"tensor 'w' {message}"


def test_facts_of_the_data_that_are_not_known(folder: Path) -> None:
    """Without its offset a tensor would be other bytes of the file."""
    assert error_of(beside(folder, "w.bin", offseT=4)) == (
        "tensor 'w' says 'offseT' of its data in another file, which is not known"
    )


def test_data_in_two_places(folder: Path) -> None:
    path = beside(folder, "w.bin", offset=4)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].float_data.append(1.0)
    onnx.save(model, path)
    assert error_of(path) == "tensor 'w' has data in itself, and in another file as well"


def test_no_location_at_all(folder: Path) -> None:
    assert error_of(beside(folder, None)) == "tensor 'w' is in '', and there is no such file"


def test_text_that_is_not_unicode(folder: Path) -> None:
    path = beside(folder, "w.bin", offset=4)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"w.bin", b"\xffbin."))
    assert error_of(path) == "tensor 'w' is in '\\udcffbin.', and there is no such file"
    path.write_bytes(data.replace(b"\x42\x01w", b"\x42\x01\xff"))
    assert error_of(path) == "a tensor's name, '\\udcff', is not valid Unicode"


def test_a_file_that_is_cut_short_or_gone_after_the_model_was_opened(folder: Path) -> None:
    path = beside(folder, "w.bin", offset=4)
    with open_source(path) as source:
        (tensor,) = source.tensors
        (folder / "w.bin").write_bytes(b"12345")
        with pytest.raises(SourceError) as caught:
            tensor.read()
        reason = "is in 'w.bin', which was cut short while it was read"
        assert str(caught.value) == f"{path}: tensor 'w' {reason}"
        (folder / "w.bin").unlink()
        with pytest.raises(SourceError, match=r"tensor 'w' is in 'w\.bin': No such file"):
            tensor.read()


@pytest.mark.parametrize("in_one", [True, False])
def test_external_files_are_named_once_and_in_order(tmp_path: Path, *, in_one: bool) -> None:
    names = ["b", "a", "c"]
    path = save_onnx(tmp_path / "m.onnx", {name: WEIGHTS + len(name) for name in names})
    assert files(path) == [path]
    external(path, in_one=in_one)
    others = ["m.data"] if in_one else sorted(names)
    assert files(path) == [path, *(tmp_path / name for name in others)]
    assert {name: array.tobytes() for name, array in read(path).items()} == {
        tensor.name: numpy_helper.to_array(tensor).tobytes()
        for tensor in onnx.load(path).graph.initializer
    }


def test_damage_to_what_says_where_the_data_is(tmp_path: Path) -> None:
    path = external(save_onnx(tmp_path / "m.onnx", {"w": WEIGHTS, "b": WEIGHTS[0]}))
    model = path.read_bytes()
    chance = random.Random(6)
    for _ in range(1000):
        damaged = bytearray(model)
        damaged[chance.randrange(len(model))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with suppress(SourceError):
            read(path)
        with suppress(SourceError):
            files(path)


def test_one_tensor_at_a_time_is_in_memory(tmp_path: Path) -> None:
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


def test_packing_a_model(tmp_path: Path) -> None:
    path = external(save_onnx(tmp_path / "m.onnx", {"w": WEIGHTS, "b": WEIGHTS[0]}))
    target = tmp_path / "m.vggq"
    assert pack(path, target).manifest.source_format == "onnx"
    restored = vggq.load(target)
    np.testing.assert_array_equal(restored["b"], WEIGHTS[0])
    np.testing.assert_allclose(restored["w"], WEIGHTS, atol=0.05)
