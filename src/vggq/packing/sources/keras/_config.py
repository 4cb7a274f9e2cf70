"""What a Keras model says of its layers: a tree of names, classes and options.

It is the JSON that `model.to_json()` gives, in `config.json` of a `.keras` archive and in the
attribute `model_config` of an HDF5 file of a whole model.
https://keras.io/guides/serialization_and_saving
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ....errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Functional models have operations such as `x + 1` among their layers.
_OPERATIONS: Final = "keras.src.ops."
_WRAPPED: Final = {
    "Bidirectional": ("layer", "backward_layer"),
    "TimeDistributed": ("layer",),
}

# torch has these once for both directions.
_ALIKE: Final = ("units", "use_bias", "activation", "recurrent_activation")


@dataclass(frozen=True, slots=True)
class Node:
    """A layer, or a model that is used as one.

    Attributes:
        name: its own name, which says nothing of where it is.
        kind: the name of its class; of one that is not of Keras, with its package.
        config: its options.
        inside: the layers of a model, or those that a wrapper wraps.
        is_model: whether `inside` is a model's layers.

    """

    name: str
    kind: str
    config: dict[str, Any]
    inside: tuple[Node, ...] = ()
    is_model: bool = False

    def parts(self) -> list[tuple[str, Node, str]]:
        """What is in a wrapper, or the layer itself.

        Each with the path to its weights in Keras 3, and what torch has behind their names.

        Raises:
            SourceError: the two directions of a wrapper differ, as torch's cannot.

        """
        if self.kind == "TimeDistributed":
            return [(f"layer/{path}", node, end) for path, node, end in self.inside[0].parts()]
        if self.kind != "Bidirectional":
            return [("", self, "")]
        forward, backward = self.inside
        if (forward.kind, *map(forward.config.get, _ALIKE)) != (
            backward.kind,
            *map(backward.config.get, _ALIKE),
        ):
            raise SourceError(f"layer {self.name!r}: its two directions are not of one kind")
        return [("forward_layer/", forward, ""), ("backward_layer/", backward, "_reverse")]

    def leaves(self) -> Iterator[tuple[Node, ...]]:
        """Every layer that is no model, behind the models that it is in."""
        if not self.is_model:
            yield (self,)
            return
        for node in self.inside:
            for trail in node.leaves():
                yield (self, *trail)


def read_model(text: bytes | str) -> Node:
    """A model and all its layers, of its description in JSON.

    Raises:
        SourceError: it describes none.

    """
    try:
        return _read_node(json.loads(text))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SourceError("its description of the model is damaged") from error


def _read_node(entry: dict[str, Any]) -> Node:
    kind, config = entry["class_name"], entry["config"]
    if isinstance(config, list):
        # Keras 1, and Keras 2 before 2.2.3, wrote no more of a Sequential model than its layers.
        config = {"layers": config}
    name = str(config.get("name") or entry.get("name") or kind)
    built = entry.get("build_config") or {}
    node = Node(name, _kind(entry), {"input_shape": built.get("input_shape"), **config})
    if isinstance(config.get("layers"), list):
        inside = tuple(map(_read_node, filter(_is_layer, config["layers"])))
        return replace(node, inside=inside, is_model=True)
    return replace(node, inside=_wrapped(node))


def _kind(entry: dict[str, Any]) -> str:
    module = entry.get("module") or "keras"
    if module.partition(".")[0] == "keras":
        return str(entry["class_name"])
    return str(entry.get("registered_name") or f"{module}.{entry['class_name']}")


def _is_layer(entry: dict[str, Any]) -> bool:
    return not (entry.get("module") or "").startswith(_OPERATIONS)


def _wrapped(node: Node) -> tuple[Node, ...]:
    keys = _WRAPPED.get(node.kind, ())
    if not keys:
        return ()
    first = node.config[keys[0]]
    # Keras 2 left the backward layer out where it is a copy of the forward one.
    return tuple(_read_node(node.config.get(key) or first) for key in keys)
