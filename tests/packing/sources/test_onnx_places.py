"""The places of an ONNX model's tensors hold exactly their values, as onnx reads them."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from tests.helpers import save_initializers
from vggq.packing.sources import ReadOptions, open_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypothesis.strategies import DrawFn
    from numpy.typing import NDArray

    from vggq.packing.sources import SourceTensor

DTYPES = [
    "bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8", "c16",
]  # fmt: skip
ARRAYS = hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large)
NAMES = st.sampled_from(["", "a", "a.b", "a/b", "ä", "x#2"])


@st.composite
def tensors(draw: DrawFn) -> TensorProto:
    """Return a tensor with values as bytes or as a list."""
    array = draw(ARRAYS)
    proto = numpy_helper.from_array(array, draw(NAMES))
    if draw(st.booleans()):
        return helper.make_tensor(proto.name, proto.data_type, proto.dims, array.ravel().tolist())
    return proto


@st.composite
def sparse_tensors(draw: DrawFn) -> onnx.SparseTensorProto:
    vector = draw(hnp.arrays("f4", st.integers(1, 4)))
    values, indices = (numpy_helper.from_array(a) for a in (vector, np.arange(vector.size)))
    values.name = draw(NAMES)
    return helper.make_sparse_tensor(values, indices, [9])


@st.composite
def nodes(draw: DrawFn, graphs: st.SearchStrategy[onnx.GraphProto]) -> onnx.NodeProto:
    outputs = draw(st.lists(NAMES, max_size=2))
    if draw(st.booleans()):
        return helper.make_node("Constant", [], outputs, value=draw(tensors()))
    values = st.one_of(
        tensors(),
        sparse_tensors(),
        graphs,
        st.lists(tensors(), min_size=1, max_size=2),
        st.lists(graphs, min_size=1, max_size=2),
        st.lists(st.floats(width=32), min_size=1),
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1),
        st.text(),
    )
    attributes = draw(st.dictionaries(st.sampled_from(["v", "w", "body"]), values))
    return helper.make_node("Op", [], outputs, draw(NAMES), **attributes)


def graphs_of(inner: st.SearchStrategy[onnx.GraphProto]) -> st.SearchStrategy[onnx.GraphProto]:
    return st.builds(
        lambda items, initializers, sparse: helper.make_graph(
            items, "g", [], [], initializers, sparse_initializer=sparse
        ),
        st.lists(nodes(inner), max_size=3),
        st.lists(tensors(), max_size=3),
        st.lists(sparse_tensors(), max_size=1),
    )


EMPTY = st.just(helper.make_graph([], "g", [], []))
GRAPHS = graphs_of(graphs_of(graphs_of(EMPTY)))


@st.composite
def models(draw: DrawFn) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 21)]
    functions = [
        helper.make_function("d", draw(NAMES), [], [], items, opsets)
        for items in draw(st.lists(st.lists(nodes(EMPTY), max_size=2), max_size=2))
    ]
    model: onnx.ModelProto = helper.make_model(draw(GRAPHS), functions=functions)
    return model


def tensors_of(message: Any) -> Iterator[TensorProto]:
    """Yield all tensors in a message, with the descriptions of protobuf."""
    if isinstance(message, TensorProto):
        yield message
        return
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            repeated = not hasattr(value, "ListFields")
            for item in value if repeated else [value]:
                yield from tensors_of(item)


def described(array: NDArray[Any]) -> tuple[tuple[int, ...], str, bytes]:
    return array.shape, array.dtype.str, array.tobytes()


def check_places(path: Path, found: list[SourceTensor], files: list[bytes]) -> None:
    """Check that the bytes at all places are those of the tensors."""
    for tensor in found:
        if tensor.place is not None:
            start, stop = tensor.place.start, tensor.place.start + tensor.place.size
            assert files[tensor.place.member][start:stop] == tensor.read().tobytes() != b""


def move_out(model: onnx.ModelProto, folder: Path, names: Iterator[str]) -> None:
    """Move the values of some tensors to other files."""
    for proto in tensors_of(model):
        name = next(names)
        if proto.HasField("raw_data") and name:
            with (folder / name).open("ab") as file:
                content = proto.raw_data
                external_data_helper.set_external_data(proto, name, file.tell(), len(content))
                file.write(content)
            proto.ClearField("raw_data")
            proto.data_location = TensorProto.EXTERNAL


@settings(max_examples=150, deadline=None, suppress_health_check=list(SLOW))
@given(models(), st.lists(st.sampled_from(["", "a.bin", "b.bin"]), min_size=200, max_size=200))
def test_all_tensors_of_random_models_are_found_and_in_place(
    model: onnx.ModelProto, names: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "m.onnx"
        expected = [numpy_helper.to_array(proto) for proto in tensors_of(model)]
        move_out(model, folder, iter(names + [""] * len(expected)))
        path.write_bytes(model.SerializeToString())
        with open_source(path) as source:
            found = [*source.tensors, *source.kept]
            files = [file.read_bytes() for file in source.files]
            assert len({tensor.name for tensor in found}) == len(found)
            assert Counter(described(tensor.read()) for tensor in found) == Counter(
                described(array) for array in expected
            )
            check_places(path, found, files)
            # Only lists of integers have no place.
            for tensor in source.kept:
                assert tensor.place is None
                assert tensor.dtype not in {"F32", "F64", "C64", "C128"}
        if expected:
            with open_source(path, ReadOptions(restore="tensors")) as source:
                assert {t.name for t in source.tensors} == {t.name for t in found}


def external(name: str, data_type: str, dims: list[int], **entries: object) -> TensorProto:
    proto = TensorProto(name=name, data_type=TensorProto.DataType.Value(data_type), dims=dims)
    proto.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", **entries}.items():
        proto.external_data.add(key=key, value=str(value))
    return proto


def replaceable(tmp_path: Path, *protos: TensorProto) -> list[str]:
    """Return the names of the tensors whose bytes may change, in a model of external data."""
    (tmp_path / "w.bin").write_bytes(bytes(range(48)))
    path = save_initializers(tmp_path / "m.onnx", protos)
    with open_source(path) as source:
        files = [file.read_bytes() for file in source.files]
        check_places(path, source.tensors, files)
        assert all(tensor.place for tensor in source.tensors)
        return [tensor.name for tensor in source.tensors]


def test_tensors_may_share_a_range_of_a_data_file(tmp_path: Path) -> None:
    same = external("b", "FLOAT", [2, 3], offset=4, length=24)
    first = external("a", "FLOAT", [2, 3], offset=4)
    assert replaceable(tmp_path, first, same) == ["a", "b"]
    assert replaceable(tmp_path, first, external("c", "INT8", [20], offset=28)) == ["a", "c"]
    # The checksum is that of the whole file.
    checked = external("c", "INT8", [20], offset=28, checksum="0" * 40)
    assert replaceable(tmp_path, first, checked) == []


def test_tensors_that_overlap_stay_in_the_rest(tmp_path: Path) -> None:
    first = external("a", "FLOAT", [2, 3], offset=4)
    free = external("z", "FLOAT", [2], offset=40)
    for other in (
        external("b", "FLOAT", [2], offset=8),
        external("b", "FLOAT", [3], offset=0),
        external("b", "INT32", [2, 3], offset=4),
        external("b", "FLOAT", [6], offset=4),
        # Tensors of which not even the range is certain.
        external("b", "INT4", [48], offset=4),
        external("b", "INT4", [2], offset=27, length=1),
        external("b", "FLOAT8E4M3FNUZ", [1], offset=5, length=1),
        external("b", "FLOAT", [6], offset=4, unknown=3, length=30),
    ):
        if other.data_type == TensorProto.INT4 and len(other.external_data) < 3:
            # Without a length it extends to the end of the file.
            assert replaceable(tmp_path, first, other, free) == []
        else:
            assert replaceable(tmp_path, first, other, free) == ["z"], other
    assert replaceable(tmp_path, first, external("b", "INT4", [2], offset=28)) == ["a"]
    assert replaceable(tmp_path, first, external("b", "INT4", [2], offset="?")) == []


def test_external_data_in_the_model_itself_stays_in_the_rest(tmp_path: Path) -> None:
    """Else a change of the tensor would change whatever the model has there."""
    inner = numpy_helper.from_array(np.arange(6, dtype=np.float32), "w")
    path = save_initializers(tmp_path / "m.onnx", [inner])
    start = path.read_bytes().index(inner.raw_data)
    outer = [
        external("all", "UINT8", [50], location="m.onnx", offset=0),
        external("same", "FLOAT", [6], location="m.onnx", offset=start),
    ]
    for others, expected in (([], ["w"]), (outer[1:], []), (outer[:1], []), (outer, [])):
        for proto in others:
            # As long as the last one, so that the values stay where they are.
            proto.external_data[1].value = f"{int(proto.external_data[1].value):04}"
        model = onnx.load(path, load_external_data=False)
        del model.graph.initializer[:]
        model.graph.initializer.extend([inner, *others])
        path.write_bytes(model.SerializeToString())
        shift = path.read_bytes().index(inner.raw_data) - start
        for proto in others:
            if proto.name == "same":
                proto.external_data[1].value = f"{start + shift:04}"
        del model.graph.initializer[1:]
        model.graph.initializer.extend(others)
        path.write_bytes(model.SerializeToString())
        with open_source(path) as source:
            assert source.files == (path,)
            assert [tensor.name for tensor in source.tensors] == expected
            values = {tensor.name: tensor.read() for tensor in source.kept}
            if "same" in values:
                assert values["same"].tobytes() == inner.raw_data


def test_each_name_of_a_data_file_is_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("w.bin")
    tensor = external("a", "FLOAT", [2], offset=4)
    linked = external("b", "FLOAT", [3], offset=0, location="link")
    same = external("c", "FLOAT", [2], offset=4, location="./w.bin")
    assert replaceable(tmp_path, tensor, linked, same) == ["a", "b", "c"]
