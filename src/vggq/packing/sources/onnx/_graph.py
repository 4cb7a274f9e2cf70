"""Tensors of an ONNX model outside the initializers of its main graph.

Nodes have tensors as attributes, mostly `Constant` nodes. So have the nodes of subgraphs (bodies of
`If`, `Loop` and `Scan`), of functions, and of the graphs for training.
https://onnx.ai/onnx/intro/concepts.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ._initializer import dtype_label, to_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# As in the rule for tensors that are stored exactly: anything larger is likely to be a weight.
MIN_WEIGHT_ELEMENTS: Final = 1000


@dataclass(frozen=True, slots=True)
class OtherTensor:
    """A tensor outside the initializers of the main graph.

    Attributes:
        name: its name, after the names of what contains it.
        place: what it belongs to, for an error.
        dtype: ONNX's name of its dtype.
        shape: its shape, as the model states it.
        proto: its TensorProto; None for a list of numbers.
        is_initializer: whether it is a sparse initializer of the main graph.

    """

    name: str
    place: str
    dtype: str
    shape: tuple[int, ...]
    proto: Any = None
    is_initializer: bool = False

    @property
    def is_weight(self) -> bool:
        """Whether it is an initializer, or has as many numbers as a weight."""
        if self.is_initializer:
            return True
        return self.dtype != "STRING" and abs(math.prod(self.shape)) >= MIN_WEIGHT_ELEMENTS


def find_other_tensors(model: Any) -> Iterator[OtherTensor]:
    """Yield all tensors of a model that are no initializers of its main graph."""
    for sparse in model.graph.sparse_initializer:
        yield replace(_of_sparse(sparse, "a sparse initializer"), is_initializer=True)
    yield from _of_nodes(model.graph.node)
    for function in model.functions:
        found = [*_of_attributes("", function.attribute_proto), *_of_nodes(function.node)]
        yield from _within(to_text(function.name), found)
    for index, training in enumerate(model.training_info):
        for part in ("initialization", "algorithm"):
            yield from _within(f"training.{index}.{part}", _of_graph(getattr(training, part)))


def _within(prefix: str, tensors: Iterable[OtherTensor]) -> Iterator[OtherTensor]:
    for tensor in tensors:
        yield replace(tensor, name=f"{prefix}.{tensor.name}")


def _of_graph(graph: Any) -> Iterator[OtherTensor]:
    """Yield all tensors of a graph that is not the main one."""
    for proto in graph.initializer:
        yield _of_proto(to_text(proto.name), proto, "an initializer of a subgraph")
    for sparse in graph.sparse_initializer:
        yield _of_sparse(sparse, "a sparse initializer of a subgraph")
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[Any]) -> Iterator[OtherTensor]:
    for node in nodes:
        output = to_text(node.output[0]) if node.output else ""
        kind = to_text(node.op_type)
        if kind == "Constant":
            # Its output is the name that other nodes use for the tensor.
            for tensor in _of_attributes(kind, node.attribute):
                yield replace(tensor, name=output or tensor.name)
        else:
            label = to_text(node.name) or output or kind
            yield from _within(label, _of_attributes(kind, node.attribute))


def _of_attributes(kind: str, attributes: Iterable[Any]) -> Iterator[OtherTensor]:
    """Yield the tensors in the attributes of nodes of a kind, or of a function if it is empty."""
    place = f"an attribute of a node ({kind})" if kind else "an attribute of a function"
    for attribute in attributes:
        name = to_text(attribute.name)
        for proto in _given(attribute, "t", "tensors"):
            yield _of_proto(name, proto, place)
        for sparse in _given(attribute, "sparse_tensor", "sparse_tensors"):
            yield _of_proto(name, sparse.values, place)
        for graph in _given(attribute, "g", "graphs"):
            yield from _within(name, _of_graph(graph))
        for dtype, numbers in (("FLOAT", attribute.floats), ("INT64", attribute.ints)):
            if numbers:
                yield OtherTensor(name, place, dtype, (len(numbers),))


def _given(attribute: Any, single: str, several: str) -> list[Any]:
    """Return the values of two fields of an attribute, of which it has one at most."""
    first = [getattr(attribute, single)] if attribute.HasField(single) else []
    return [*first, *getattr(attribute, several)]


def _of_sparse(sparse: Any, place: str) -> OtherTensor:
    tensor = _of_proto(to_text(sparse.values.name), sparse.values, place)
    return replace(tensor, shape=tuple(sparse.dims))


def _of_proto(name: str, proto: Any, place: str) -> OtherTensor:
    return OtherTensor(name, place, dtype_label(proto), tuple(proto.dims), proto)
