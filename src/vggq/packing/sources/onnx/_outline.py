"""The contents of an ONNX model: its tensors by name, and the names of what else it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ....errors import SourceError
from .._unique_names import make_unique
from ._graph import GraphWalk
from ._names import UNNAMED, extend_prefix
from ._numbers import key_of

if TYPE_CHECKING:
    from ._tensor import Tensor
    from ._wire import Span, WireFile

_GRAPH, _OPSETS, _METADATA, _TRAINING, _FUNCTIONS = map(key_of, (7, 8, 14, 20, 25))
_MODEL: Final = (_GRAPH, _OPSETS, _METADATA, _TRAINING, _FUNCTIONS)
_ENTRY_KEY: Final = key_of(1)
_FUNCTION_NAME, _FUNCTION_NODE, _FUNCTION_ATTRIBUTE = map(key_of, (1, 7, 11))
_TRAINING_GRAPHS: Final = {key_of(1): "initialization", key_of(2): "algorithm"}


@dataclass(frozen=True, slots=True)
class Outline:
    """The contents of a model.

    Attributes:
        tensors: all tensors by name.
        graph: name of the main graph.
        node_count: number of nodes of the main graph.
        functions: names of the functions.
        metadata: keys of the metadata.
        long_lists: names of the attributes that are long lists of numbers, which are no tensors.

    """

    tensors: dict[str, Tensor]
    graph: str
    node_count: int
    functions: list[str]
    metadata: list[str]
    long_lists: list[str]


def read_outline(file: WireFile) -> Outline:
    """Return the contents of a model.

    Raises:
        SourceError: the file is damaged.

    """
    model = file.collect([(0, file.size)], _MODEL)
    # Every model names its operator sets after the weights, so a truncated model lacks them.
    if not model[_OPSETS]:
        raise SourceError("truncated: the model names no operator sets")
    walk = GraphWalk(file)
    walk.visit_graph("", model[_GRAPH], 1)
    graph, node_count = walk.graph_name, walk.node_count
    functions = [_visit_function(file, walk, span) for span in model[_FUNCTIONS]]
    for number, span in enumerate(model[_TRAINING]):
        _visit_training(file, walk, number, span)
    walk.visit_subgraphs()
    # Initializers come first, so that no other tensor takes the name of one.
    found = [*walk.initializers, *walk.others]
    names = make_unique([name for name, _ in found])
    return Outline(
        dict(zip(names, (tensor for _, tensor in found), strict=True)),
        graph,
        node_count,
        functions,
        [_read_key(file, walk, span) for span in model[_METADATA]],
        walk.long_lists,
    )


def _read_key(file: WireFile, walk: GraphWalk, entry: Span) -> str:
    return walk.read_name(file.collect([entry], (_ENTRY_KEY,))[_ENTRY_KEY])


def _visit_function(file: WireFile, walk: GraphWalk, span: Span) -> str:
    """Collect the tensors of a function, and return its name."""
    parts = file.collect([span], (_FUNCTION_NAME, _FUNCTION_ATTRIBUTE))
    name = walk.read_name(parts[_FUNCTION_NAME])
    label = name or UNNAMED
    for attribute in parts[_FUNCTION_ATTRIBUTE]:
        walk.visit_attribute("", lambda: (label, False), attribute, 2)
    prefix = extend_prefix("", label)
    for key, start, stop in file.fields([span]):
        if key == _FUNCTION_NODE:
            walk.visit_node(prefix, (start, stop), 2)
    return name


def _visit_training(file: WireFile, walk: GraphWalk, number: int, span: Span) -> None:
    """Collect the tensors of two graphs for training."""
    for key, spans in file.collect([span], _TRAINING_GRAPHS).items():
        prefix = extend_prefix("", "training", str(number), _TRAINING_GRAPHS[key])
        walk.visit_graph(prefix, spans, 2)
