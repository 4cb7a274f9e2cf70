"""The configuration of a Keras model: a tree of layers with their names, classes and options.

`model.to_json()` returns it as JSON. A `.keras` archive stores it in `config.json`, an HDF5 file of
a whole model in the attribute `model_config`.
https://keras.io/guides/serialization_and_saving
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ....errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Functional models list operations such as `x + 1` among their layers.
_OPERATIONS_MODULE: Final = "keras.src.ops."
_WRAPPED_LAYER_KEYS: Final = {
    "Bidirectional": ("layer", "backward_layer"),
    "TimeDistributed": ("layer",),
}

# A bidirectional layer of torch has each of these once, for both directions.
_SHARED_BY_DIRECTIONS: Final = ("units", "use_bias", "activation", "recurrent_activation")


@dataclass(frozen=True, slots=True)
class Node:
    """A layer, or a model that is used as a layer.

    Attributes:
        name: name within the parent.
        class_name: name of its class, with the package if the class is not one of Keras.
        config: its options.
        children: layers of a model, or those that a wrapper wraps.
        is_model: whether `children` are the layers of a model.

    """

    name: str
    class_name: str
    config: dict[str, Any]
    children: tuple[Node, ...] = ()
    is_model: bool = False

    def unwrap(self) -> list[tuple[str, Node, str]]:
        """Return the layers in a wrapper, or the layer itself if it is no wrapper.

        Returns:
            For each: the path to its weights in Keras 3, the layer, and the suffix that torch
            appends to the names of its tensors.

        Raises:
            SourceError: the two directions differ in a way that torch does not support.

        """
        if self.class_name == "TimeDistributed":
            inner = self.children[0].unwrap()
            return [(f"layer/{path}", node, suffix) for path, node, suffix in inner]
        if self.class_name != "Bidirectional":
            return [("", self, "")]
        forward, backward = self.children
        if (forward.class_name, *map(forward.config.get, _SHARED_BY_DIRECTIONS)) != (
            backward.class_name,
            *map(backward.config.get, _SHARED_BY_DIRECTIONS),
        ):
            raise SourceError(f"layer {self.name!r}: its two directions differ in class or options")
        return [("forward_layer/", forward, ""), ("backward_layer/", backward, "_reverse")]

    def leaves(self) -> Iterator[tuple[Node, ...]]:
        """Yield the path to every layer that is not a model: its parents, then the layer."""
        if not self.is_model:
            yield (self,)
            return
        for node in self.children:
            for trail in node.leaves():
                yield (self, *trail)


def parse_model_config(text: bytes | str) -> Node:
    """Return a model with all its layers from its configuration in JSON.

    Raises:
        SourceError: the configuration is damaged.

    """
    try:
        return _parse_node(json.loads(text))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SourceError("the configuration of the model is damaged") from error


def _parse_node(entry: dict[str, Any]) -> Node:
    class_name, config = entry["class_name"], entry["config"]
    if isinstance(config, list):
        # Keras 1, and Keras 2 before 2.2.3, wrote only the list of layers of a Sequential model.
        config = {"layers": config}
    name = str(config.get("name") or entry.get("name") or class_name)
    built = entry.get("build_config") or {}
    config = {"input_shape": built.get("input_shape"), **config}
    node = Node(name, _qualified_class_name(entry), config)
    if isinstance(config.get("layers"), list):
        children = tuple(map(_parse_node, filter(_is_layer, config["layers"])))
        return replace(node, children=children, is_model=True)
    return replace(node, children=_parse_wrapped(node))


def _qualified_class_name(entry: dict[str, Any]) -> str:
    module = entry.get("module") or "keras"
    if module.partition(".")[0] == "keras":
        return str(entry["class_name"])
    return str(entry.get("registered_name") or f"{module}.{entry['class_name']}")


def _is_layer(entry: dict[str, Any]) -> bool:
    return not (entry.get("module") or "").startswith(_OPERATIONS_MODULE)


def _parse_wrapped(node: Node) -> tuple[Node, ...]:
    keys = _WRAPPED_LAYER_KEYS.get(node.class_name, ())
    if not keys:
        return ()
    first = node.config[keys[0]]
    # Keras 2 omitted a backward layer that is a copy of the forward layer.
    return tuple(_parse_node(node.config.get(key) or first) for key in keys)
