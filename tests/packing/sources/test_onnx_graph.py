"""Tensors of an ONNX model that are no dense initializers of its main graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vggq.errors import SourceError
from vggq.packing import pack
from vggq.packing.sources import ReadOptions, list_source_files, open_source

from .problems import problem_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

WEIGHTS = np.random.default_rng(3).standard_normal((40, 30)).astype(np.float32)
SMALL = WEIGHTS[:16]
"""480 elements, which are not enough for a weight even in a sparse tensor of twice the size."""

ONLY = "and only dense initializers of the main graph can be packed"


def tensor(values: NDArray[Any], name: str = "inner") -> TensorProto:
    return numpy_helper.from_array(values, name)


def sparse(values: NDArray[Any], name: str = "inner") -> onnx.SparseTensorProto:
    flat = values.ravel()
    return helper.make_sparse_tensor(
        tensor(flat, name), tensor(np.arange(flat.size), "i"), [2 * flat.size]
    )


def constant(**attributes: Any) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["c"], **attributes)


def graph(*nodes: onnx.NodeProto, **fields: Any) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "g", [], [], **fields)


def branch(inner: onnx.GraphProto) -> onnx.NodeProto:
    return helper.make_node("If", ["x"], ["y"], name="if", then_branch=inner)


def loop(inner: onnx.GraphProto) -> onnx.NodeProto:
    return helper.make_node("Loop", ["x"], ["y"], body=inner)


def function(*nodes: onnx.NodeProto) -> onnx.FunctionProto:
    return helper.make_function("d", "f", [], ["c"], list(nodes), [helper.make_opsetid("", 21)])


def node(**attributes: Any) -> onnx.NodeProto:
    return helper.make_node("Any", [], ["out"], **attributes)


def save(path: Path, *nodes: onnx.NodeProto, **fields: Any) -> Path:
    """Write a model with an initializer and these nodes."""
    sparse_initializer = fields.pop("sparse_initializer", [])
    training = fields.pop("training", None)
    main = graph(*nodes, initializer=[tensor(WEIGHTS, "w")], sparse_initializer=sparse_initializer)
    model = helper.make_model(main, **fields)
    if training is not None:
        model.training_info.add().algorithm.CopyFrom(training)
    onnx.save(model, path)
    return path


# For each: a function from values to the nodes and fields of a model, the name of the tensor with
# these values, and what it belongs to.
Made = tuple[list[onnx.NodeProto], dict[str, Any]]
PLACES: dict[str, tuple[Callable[[NDArray[Any]], Made], str, str]] = {
    "constant": (
        lambda values: ([constant(value=tensor(values))], {}),
        "c",
        "an attribute of a node (Constant)",
    ),
    "sparse constant": (
        lambda values: ([constant(sparse_value=sparse(values))], {}),
        "c",
        "an attribute of a node (Constant)",
    ),
    "list of a constant": (
        lambda values: ([constant(value_floats=values.ravel().tolist())], {}),
        "c",
        "an attribute of a node (Constant)",
    ),
    "list of integers": (
        lambda values: ([constant(value_ints=[1] * values.size)], {}),
        "c",
        "an attribute of a node (Constant)",
    ),
    "attribute": (
        lambda values: ([node(table=tensor(values))], {}),
        "out.table",
        "an attribute of a node (Any)",
    ),
    "attribute with several": (
        lambda values: ([node(tables=[tensor(values)])], {}),
        "out.tables",
        "an attribute of a node (Any)",
    ),
    "list": (
        lambda values: ([node(nodes_values=values.ravel().tolist())], {}),
        "out.nodes_values",
        "an attribute of a node (Any)",
    ),
    "initializer of a branch": (
        lambda values: ([branch(graph(initializer=[tensor(values)]))], {}),
        "if.then_branch.inner",
        "an initializer of a subgraph",
    ),
    "sparse initializer of a loop": (
        lambda values: ([loop(graph(sparse_initializer=[sparse(values)]))], {}),
        "y.body.inner",
        "a sparse initializer of a subgraph",
    ),
    "constant in a branch in a loop": (
        lambda values: ([loop(graph(branch(graph(constant(value=tensor(values))))))], {}),
        "y.body.if.then_branch.c",
        "an attribute of a node (Constant)",
    ),
    "function": (
        lambda values: ([], {"functions": [function(constant(value=tensor(values)))]}),
        "f.c",
        "an attribute of a node (Constant)",
    ),
    "training": (
        lambda values: ([], {"training": graph(initializer=[tensor(values)])}),
        "training.0.algorithm.inner",
        "an initializer of a subgraph",
    ),
}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> tuple[Callable[[NDArray[Any]], Made], str, str]:
    return PLACES[request.param]


def open_names(path: Path, *drop: str) -> tuple[list[str], tuple[str, ...]]:
    with open_source(path, ReadOptions(drop=drop)) as source:
        return [tensor.name for tensor in source.tensors], source.remarks


def test_a_weight_that_is_no_initializer_is_an_error_or_dropped(
    tmp_path: Path, place: tuple[Callable[[NDArray[Any]], Made], str, str]
) -> None:
    make, name, belongs_to = place
    nodes, fields = make(WEIGHTS)
    path = save(tmp_path / "m.onnx", *nodes, **fields)
    with pytest.raises(SourceError) as caught:
        open_names(path)
    message = str(caught.value).removeprefix(f"{path}: ")
    assert message.startswith(f"tensor {name!r}: ")
    assert problem_of(message, count=1) == f"{belongs_to}, {ONLY}"
    assert open_names(path, name)[0] == ["w"]


def test_a_small_tensor_of_the_graph_is_named_in_a_remark(
    tmp_path: Path, place: tuple[Callable[[NDArray[Any]], Made], str, str]
) -> None:
    make, name, _ = place
    nodes, fields = make(SMALL)
    names, remarks = open_names(save(tmp_path / "m.onnx", *nodes, **fields))
    assert names == ["w"]
    (remark,) = remarks
    assert f"the small tensors of its nodes {name!r}" in remark


@pytest.mark.parametrize("dims", [(999,), (3, 333), (1000,), (10, 100)])
def test_a_weight_has_at_least_1000_elements(tmp_path: Path, dims: tuple[int, ...]) -> None:
    values = np.zeros(dims, np.int8)
    path = save(tmp_path / "m.onnx", constant(value=tensor(values)))
    if values.size < 1000:
        assert open_names(path)[0] == ["w"]
    else:
        with pytest.raises(SourceError, match=r"tensor 'c': an attribute of a node \(Constant\)"):
            open_names(path)


@pytest.mark.parametrize("size", [2, 1000])
def test_sparse_initializers_are_errors_whatever_their_size(tmp_path: Path, size: int) -> None:
    values = np.ones(size, np.float32)
    path = save(tmp_path / "m.onnx", sparse_initializer=[sparse(values, "s")])
    with pytest.raises(SourceError) as caught:
        open_names(path)
    message = str(caught.value).removeprefix(f"{path}: ")
    assert problem_of(message, count=1) == f"a sparse initializer, {ONLY}"
    assert open_names(path, "s") == (["w"], ())


def test_the_remark_names_the_graph_functions_and_metadata(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", node(), node(), functions=[function(node())])
    model = onnx.load(path)
    helper.set_model_props(model, {"author": "x", "classes": "y"})
    onnx.save(model, path)
    packed = pack(path, tmp_path / "m.vggq")
    assert packed.remarks == (
        "not packed: the graph of 2 nodes 'g'; the functions 'f'; the metadata 'author', 'classes'",
    )


def test_strings_of_the_graph_are_no_weights(tmp_path: Path) -> None:
    vocabulary = numpy_helper.from_array(np.array(["a"] * 2000, object), "v")
    nodes = [constant(value=vocabulary), node(words=["a"] * 2000)]
    names, remarks = open_names(save(tmp_path / "m.onnx", *nodes))
    assert names == ["w"]
    assert "the small tensors of its nodes 'c'" in remarks[0]


def test_a_model_with_initializers_only_has_no_remark(tmp_path: Path) -> None:
    assert open_names(save(tmp_path / "m.onnx")) == (["w"], ())


def test_external_data_of_the_graph_is_part_of_the_source(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", constant(value=tensor(WEIGHTS)))
    onnx.save(
        onnx.load(path),
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=False,
        size_threshold=0,
        convert_attribute=True,
    )
    names = sorted(file.name for file in list_source_files(path))
    assert names == ["inner", "m.onnx", "w"]
