"""Tensors in all parts of an ONNX model have readable names, and places in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vggq.errors import SourceError
from vggq.packing.sources import ReadOptions, list_source_files, open_source
from vggq.packing.sources._unique_names import make_unique
from vggq.packing.sources.onnx import _graph
from vggq.packing.sources.onnx._names import extend_prefix

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

VALUES = np.random.default_rng(3).standard_normal((4, 3)).astype(np.float32)


def tensor(values: NDArray[Any], name: str = "inner") -> TensorProto:
    return numpy_helper.from_array(values, name)


def sparse(values: NDArray[Any], name: str = "inner") -> onnx.SparseTensorProto:
    """Return a sparse tensor with these values, which must be a vector."""
    indices = tensor(np.arange(values.size), "i")
    return helper.make_sparse_tensor(tensor(values, name), indices, [2 * values.size])


def constant(**attributes: Any) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["c"], **attributes)


def graph(*nodes: onnx.NodeProto, **fields: Any) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "g", [], [], **fields)


def branch(inner: onnx.GraphProto) -> onnx.NodeProto:
    return helper.make_node("If", ["x"], ["y"], name="if", then_branch=inner)


def loop(inner: onnx.GraphProto) -> onnx.NodeProto:
    return helper.make_node("Loop", ["x"], ["y"], body=inner)


def function(*nodes: onnx.NodeProto, **fields: Any) -> onnx.FunctionProto:
    opsets = [helper.make_opsetid("", 21)]
    return helper.make_function("d", "f", [], ["c"], list(nodes), opsets, **fields)


def node(**attributes: Any) -> onnx.NodeProto:
    return helper.make_node("Any", [], ["out"], **attributes)


def save(path: Path, *nodes: onnx.NodeProto, **fields: Any) -> Path:
    """Write a model with an initializer and these nodes."""
    sparse_initializer = fields.pop("sparse_initializer", [])
    training = fields.pop("training", None)
    initializers = fields.pop("initializer", [tensor(VALUES, "w")])
    main = graph(*nodes, initializer=initializers, sparse_initializer=sparse_initializer)
    model = helper.make_model(main, **fields)
    if training is not None:
        model.training_info.add().algorithm.CopyFrom(training)
    onnx.save(model, path)
    return path


# For each: a function from a vector to the nodes and fields of a model, and the name of the tensor
# with its values.
Made = tuple[list[onnx.NodeProto], dict[str, Any]]
PLACES: dict[str, tuple[Callable[[NDArray[Any]], Made], str]] = {
    "constant": (lambda v: ([constant(value=tensor(v))], {}), "c"),
    "sparse constant": (lambda v: ([constant(sparse_value=sparse(v))], {}), "c.values"),
    "sparse initializer": (lambda v: ([], {"sparse_initializer": [sparse(v)]}), "inner.values"),
    "attribute": (lambda v: ([node(table=tensor(v))], {}), "out.table"),
    "attribute of a node with a name": (
        lambda v: ([helper.make_node("Any", [], ["out"], "n", table=tensor(v))], {}),
        "n.table",
    ),
    "attribute of a node without outputs": (
        lambda v: ([helper.make_node("Any", [], [], table=tensor(v))], {}),
        "Any.table",
    ),
    "attribute with several": (
        lambda v: ([node(tables=[tensor(v[:0]), tensor(v)])], {}),
        "out.tables.1",
    ),
    "sparse attribute with several": (
        lambda v: ([node(tables=[sparse(v)])], {}),
        "out.tables.0.values",
    ),
    "initializer of a branch": (
        lambda v: ([branch(graph(initializer=[tensor(v)]))], {}),
        "if/then_branch/inner",
    ),
    "one of several graphs": (
        lambda v: ([node(bodies=[graph(), graph(initializer=[tensor(v)])])], {}),
        "out/bodies.1/inner",
    ),
    "sparse initializer of a loop": (
        lambda v: ([loop(graph(sparse_initializer=[sparse(v)]))], {}),
        "y/body/inner.values",
    ),
    "constant in a branch in a loop": (
        lambda v: ([loop(graph(branch(graph(constant(value=tensor(v))))))], {}),
        "y/body/if/then_branch/c",
    ),
    "function": (lambda v: ([], {"functions": [function(constant(value=tensor(v)))]}), "f/c"),
    "branch in a function": (
        lambda v: ([], {"functions": [function(branch(graph(initializer=[tensor(v)])))]}),
        "f/if/then_branch/inner",
    ),
    "attribute of a function": (
        lambda v: (
            [],
            {"functions": [function(attribute_protos=[helper.make_attribute("a", tensor(v))])]},
        ),
        "f.a",
    ),
    "training": (
        lambda v: ([], {"training": graph(initializer=[tensor(v)])}),
        "training/0/algorithm/inner",
    ),
}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> tuple[Callable[[NDArray[Any]], Made], str]:
    return PLACES[request.param]


def open_names(path: Path, restore: str = "tensors") -> tuple[list[str], tuple[str, ...]]:
    with open_source(path, ReadOptions(restore=restore)) as source:
        return [tensor.name for tensor in source.tensors], source.remarks


@pytest.mark.parametrize("restore", ["model", "tensors"])
def test_a_tensor_in_any_part_of_a_model_has_a_name_and_a_place(
    tmp_path: Path, place: tuple[Callable[[NDArray[Any]], Made], str], restore: str
) -> None:
    make, name = place
    vector = VALUES.ravel()
    nodes, fields = make(vector)
    path = save(tmp_path / "m.onnx", *nodes, **fields)
    with open_source(path, ReadOptions(restore=restore)) as source:
        found = {tensor.name: tensor for tensor in source.tensors}
        assert {"w", name} <= found.keys()
        assert found[name].read().tobytes() == vector.tobytes()
        assert found[name].shape == vector.shape
        for other in (found[name], found["w"]):
            assert other.place is not None
            start, stop = other.place.start, other.place.start + other.place.size
            assert path.read_bytes()[start:stop] == other.read().tobytes()


def test_the_indices_of_a_sparse_tensor_are_a_tensor(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", sparse_initializer=[sparse(VALUES[0], "s")])
    with open_source(path, ReadOptions(restore="tensors")) as source:
        found = {tensor.name: tensor.read().tolist() for tensor in source.tensors}
    assert found["s.indices"] == [0, 1, 2]


def test_equal_names_get_numbers_and_initializers_keep_theirs(tmp_path: Path) -> None:
    values = [np.full(2, number, np.float32) for number in range(6)]
    nodes = [
        helper.make_node("Constant", [], ["w"], value=tensor(values[0])),
        helper.make_node("Any", [], ["o"], "conv", weight=tensor(values[1])),
    ]
    names = ["w", "conv.weight", "", ""]
    initializers = [tensor(array, name) for name, array in zip(names, values[2:], strict=True)]
    path = save(tmp_path / "m.onnx", *nodes, initializer=initializers)
    with open_source(path, ReadOptions(restore="tensors")) as source:
        found = {tensor.name: int(tensor.read()[0]) for tensor in source.tensors}
    assert found == {
        "w": 2, "w#2": 0, "conv.weight": 3, "conv.weight#2": 1, "unnamed": 4, "unnamed#2": 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], []),
        (["a", "a", "a"], ["a", "a#2", "a#3"]),
        (["a", "a", "a#2", "a"], ["a", "a#3", "a#2", "a#4"]),
        (["a#2", "a", "a", "a#2"], ["a#2", "a", "a#3", "a#2#2"]),
    ],
)
def test_numbers_of_equal_names_avoid_other_names(names: list[str], expected: list[str]) -> None:
    assert make_unique(names) == expected


def test_prefixes_of_deeply_nested_graphs_are_short() -> None:
    prefix = ""
    for _ in range(100):
        prefix = extend_prefix(prefix, "x" * 5000, "branch")
    assert len(prefix) < 1500
    assert extend_prefix("a/", "b", "c") == "a/b/c/"


def test_open_rejects_models_with_very_many_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_graph, "_MAX_TENSORS", 2)
    nodes = [constant(value=tensor(VALUES))] * 2
    assert open_names(save(tmp_path / "m.onnx", *nodes))[0] == ["c", "c#2", "w"]
    path = save(tmp_path / "m.onnx", *nodes, constant(value=tensor(VALUES)))
    with pytest.raises(SourceError, match="has more than 2 tensors"):
        open_names(path)


def test_the_remark_names_what_is_not_packed_with_tensors(tmp_path: Path) -> None:
    lists = {"floats": [0.5] * 1000, "few": [0.5] * 799, "ints": [7] * 2000, "text": "x" * 9999}
    path = save(tmp_path / "m.onnx", node(**lists), node(), functions=[function(node())])
    model = onnx.load(path)
    helper.set_model_props(model, {"author": "x", "classes": "y"})
    onnx.save(model, path)
    names, (remark,) = open_names(path)
    assert names == ["w"]
    assert remark == (
        "not packed: the graph of 2 nodes 'g'; the lists of numbers of its nodes 'out.floats', "
        "'out.ints'; the functions 'f'; the metadata 'author', 'classes'"
    )
    assert open_names(path, "model") == (["w"], ())


def test_a_model_with_initializers_only_has_no_remark(tmp_path: Path) -> None:
    assert open_names(save(tmp_path / "m.onnx")) == (["w"], ())


@pytest.mark.parametrize("kind", ["STRING", "INT4"])
def test_tensors_of_unsupported_dtypes_stay_in_the_rest(tmp_path: Path, kind: str) -> None:
    other = TensorProto(name="v", data_type=TensorProto.DataType.Value(kind), dims=[2])
    path = save(tmp_path / "m.onnx", constant(value=other))
    with open_source(path) as source:
        assert [tensor.name for tensor in source.tensors] == ["w"]
        (kept,) = source.kept
        assert (kept.name, kept.dtype) == ("c", kind)
        assert kept.problem == f"the dtype {kind} is not supported"


def test_external_data_of_the_graph_is_part_of_the_source(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", constant(value=tensor(VALUES)))
    onnx.save(
        onnx.load(path),
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=False,
        size_threshold=0,
        convert_attribute=True,
    )
    files = list_source_files(path)
    assert [file.name for file in files] == ["m.onnx", "inner", "w"]
    with open_source(path) as source:
        assert source.files == tuple(files)
        places = {tensor.name: tensor.place for tensor in source.tensors}
    assert [(place.member, place.size) for place in places.values() if place] == [(1, 48), (2, 48)]
