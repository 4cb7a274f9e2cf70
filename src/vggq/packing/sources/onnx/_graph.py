"""The tensors of the graphs of an ONNX model, with their names.

Besides initializers, graphs have tensors in the attributes of nodes, mostly of `Constant` nodes.
Attributes are also the subgraphs of a node (bodies of `If`, `Loop` and `Scan`).
https://onnx.ai/onnx/intro/concepts.html
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from ....errors import SourceError
from ._names import MAX_NAME_SIZE, UNNAMED, extend_prefix, to_text
from ._numbers import FIXED32, VARINT, key_of
from ._tensor import Tensor, parse_tensor
from ._wire import check_depth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ._wire import Span, WireFile

    Owner = tuple[str, bool]
    """The name of what has an attribute, and whether it is the name of the tensor as well."""

_GRAPH_NODE, _GRAPH_NAME = key_of(1), key_of(2)
_GRAPH_INITIALIZER, _GRAPH_SPARSE = key_of(5), key_of(15)

_NODE_OUTPUT, _NODE_NAME, _NODE_OPERATOR, _NODE_ATTRIBUTE = map(key_of, (2, 3, 4, 5))
_NODE: Final = (_NODE_OUTPUT, _NODE_NAME, _NODE_OPERATOR, _NODE_ATTRIBUTE)

_ATTRIBUTE_NAME: Final = key_of(1)
_TENSOR, _TENSORS = key_of(5), key_of(10)
_SUBGRAPH, _SUBGRAPHS = key_of(6), key_of(11)
_SPARSE, _SPARSES = key_of(22), key_of(23)
_NUMBERS: Final = (key_of(7), key_of(7, FIXED32), key_of(8), key_of(8, VARINT))
_ATTRIBUTE: Final = (
    _ATTRIBUTE_NAME, _TENSOR, _TENSORS, _SUBGRAPH, _SUBGRAPHS, _SPARSE, _SPARSES, *_NUMBERS
)  # fmt: skip
_SPARSE_PARTS: Final = {key_of(1): "values", key_of(2): "indices"}

# A packed file cannot describe as many.
_MAX_TENSORS: Final = 200_000
# Bytes of a list of numbers that may be weights.
_LONG_LIST_SIZE: Final = 4000


class GraphWalk:
    """A walk through the graphs of a model, which collects their tensors.

    Args:
        file: the model.

    Attributes:
        initializers: the initializers of the main graph with their names, which may be repeated.
        others: the other tensors so far, in the same way.
        long_lists: names of the attributes that are long lists of numbers, which are no tensors.
        node_count: number of nodes so far.
        graph_name: the name of the graph that was visited last.

    """

    def __init__(self, file: WireFile) -> None:
        self._file = file
        # A queue instead of recursion, for which a hostile file may be too deep.
        self._subgraphs: deque[tuple[str, Sequence[Span], int]] = deque()
        self.initializers: list[tuple[str, Tensor]] = []
        self.others: list[tuple[str, Tensor]] = []
        self.long_lists: list[str] = []
        self.node_count = 0
        self.graph_name = ""

    def read_name(self, spans: Sequence[Span]) -> str:
        """Return the last of several texts, or an empty text."""
        return to_text(self._file.peek(spans[-1], MAX_NAME_SIZE)) if spans else ""

    def visit_graph(self, prefix: str, spans: Sequence[Span], depth: int) -> None:
        """Collect the tensors of a graph without its subgraphs.

        Args:
            prefix: what their names begin with.
            spans: the graph.
            depth: number of messages around its content.

        """
        names = []
        for key, start, stop in self._file.fields(spans):
            check_depth(depth + 1, start)
            if key == _GRAPH_NODE:
                self.visit_node(prefix, (start, stop), depth + 1)
            elif key == _GRAPH_INITIALIZER:
                self._add_initializer(prefix, (start, stop))
            elif key == _GRAPH_SPARSE:
                self._add_sparse(prefix, [(start, stop)])
            elif key == _GRAPH_NAME:
                names = [(start, stop)]
        self.graph_name = self.read_name(names)

    def visit_subgraphs(self) -> None:
        """Collect the tensors of all subgraphs."""
        while self._subgraphs:
            self.visit_graph(*self._subgraphs.popleft())

    def visit_node(self, prefix: str, span: Span, depth: int) -> None:
        """Collect the tensors of a node."""
        self.node_count += 1
        parts = self._file.collect([span], _NODE)
        for attribute in parts[_NODE_ATTRIBUTE]:
            self.visit_attribute(prefix, lambda: self._owner(parts), attribute, depth + 1)

    def visit_attribute(
        self, prefix: str, find_owner: Callable[[], Owner], span: Span, depth: int
    ) -> None:
        """Collect the tensors of an attribute.

        Args:
            prefix: what the names of the tensors of its graph begin with.
            find_owner: returns what has the attribute.
            span: the attribute.
            depth: number of messages around its content.

        """
        parts = self._file.collect([span], _ATTRIBUTE)
        names = parts.pop(_ATTRIBUTE_NAME, [])
        list_size = sum(stop - start for key in _NUMBERS for start, stop in parts.pop(key, ()))
        if not parts and list_size < _LONG_LIST_SIZE:
            return
        attribute = self.read_name(names) or UNNAMED
        owner, is_tensor_name = find_owner()
        name = f"{prefix}{owner}" if is_tensor_name else f"{prefix}{owner}.{attribute}"
        if list_size >= _LONG_LIST_SIZE:
            self.long_lists.append(name)
        for suffix, spans in _attribute_members(parts, _TENSOR, _TENSORS):
            self._add(self.others, name + suffix, parse_tensor(self._file, spans))
        for suffix, spans in _attribute_members(parts, _SPARSE, _SPARSES):
            self._add_sparse("", spans, name + suffix)
        for suffix, spans in _attribute_members(parts, _SUBGRAPH, _SUBGRAPHS):
            path = extend_prefix(prefix, owner, attribute + suffix)
            self._subgraphs.append((path, spans, depth + 1))

    def _owner(self, node: dict[int, list[Span]]) -> Owner:
        operator = self.read_name(node[_NODE_OPERATOR])
        output = self.read_name(node[_NODE_OUTPUT][:1])
        if operator == "Constant" and output:
            # Other nodes use this name for the tensor.
            return output, True
        return self.read_name(node[_NODE_NAME]) or output or operator or UNNAMED, False

    def _add_initializer(self, prefix: str, span: Span) -> None:
        tensor = parse_tensor(self._file, [span])
        tensors = self.others if prefix else self.initializers
        self._add(tensors, prefix + self._name_of(tensor), tensor)

    def _add_sparse(self, prefix: str, spans: Sequence[Span], name: str | None = None) -> None:
        """Add the parts of a sparse tensor, which has the name of its values."""
        parts = self._file.collect(spans, _SPARSE_PARTS)
        tensors = {
            _SPARSE_PARTS[key]: parse_tensor(self._file, part) for key, part in parts.items()
        }
        if name is None:
            name = prefix + self._name_of(tensors.get("values", Tensor()))
        for part, tensor in tensors.items():
            self._add(self.others, f"{name}.{part}", tensor)

    def _name_of(self, tensor: Tensor) -> str:
        return (self.read_name([tensor.name]) if tensor.name else "") or UNNAMED

    def _add(self, tensors: list[tuple[str, Tensor]], name: str, tensor: Tensor) -> None:
        tensors.append((name, tensor))
        if len(tensors) > _MAX_TENSORS:
            raise SourceError(f"has more than {_MAX_TENSORS} tensors")


def _attribute_members(
    parts: dict[int, list[Span]], single: int, several: int
) -> Iterator[tuple[str, list[Span]]]:
    """Yield the messages of an attribute, each with the end of its name.

    Args:
        parts: the attribute.
        single: the key of the field with one message, which is merged if it occurs again.
        several: the key of the field with a list of messages.

    """
    if single in parts:
        yield "", parts[single]
    for number, span in enumerate(parts.get(several, ())):
        yield f".{number}", [span]
