"""The layers of an HDF5 file of Keras 3, whose weights are numbered.

The group of a layer has the name of its class and a number: ``layers/dense_1``. Its weights are
``vars/0``, ``vars/1``. Classes and options, which give the numbers a meaning, come from the model's
configuration.
https://github.com/keras-team/keras/blob/v3.15.1/keras/src/saving/saving_lib.py
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ....errors import SourceError
from ._attributes import find_strings
from ._layer import KerasLayer
from ._rules import LAYER_RULES
from ._tree import read_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._config import Node

# Keras 2.12 used the second name.
_LAYERS_GROUPS: Final = ("layers", "_layer_checkpoint_dependencies")
# Groups with the state of training, and of random layers. Legacy files have the last one.
_STATE_GROUPS: Final = frozenset(
    {
        "compile_metrics",
        "loss_tracker",
        "metrics",
        "optimizer",
        "seed_generator",
        "optimizer_weights",
    }
)


def is_numbered(file: Any) -> bool:
    """Return whether a file is of Keras 3; a legacy file may have a layer called "layers"."""
    legacy = "model_weights" in file or "layer_names" in file.attrs
    return not legacy and any(name in file for name in _LAYERS_GROUPS)


def is_training_state(path: str) -> bool:
    """Return whether the dataset at a path is no weight, but state of training."""
    return not _STATE_GROUPS.isdisjoint(part.lstrip("_") for part in path.split("/"))


def find_numbered_layers(file: Any, model: Node) -> list[KerasLayer]:
    """Return every layer that has weights.

    Args:
        file: the open HDF5 file.
        model: the model's configuration.

    Raises:
        SourceError: file and model have different layers.

    """
    if not model.is_model:
        raise SourceError(f"the model is a {model.class_name}, which does not describe its layers")
    return list(_layers_of_model(file, model, ()))


def _find_weights(group: Any) -> dict[str, Any]:
    """Return the datasets below a group that are weights, by path from the group."""
    datasets = read_tree(group).datasets
    return {path: item for path, item in datasets.items() if not is_training_state(path)}


def _layers_of_model(group: Any, model: Node, trail: tuple[str, ...]) -> Iterator[KerasLayer]:
    layers: Any = next((group[name] for name in _LAYERS_GROUPS if name in group), {})
    by_class: dict[str, list[Node]] = {}
    for node in model.children:
        base_name = _to_snake_case(node.class_name.rpartition(">")[2])
        by_class.setdefault(base_name, []).append(node)
    for base_name, nodes in by_class.items():
        for node, part in _match_groups(_groups_of_class(layers, base_name), nodes):
            yield from _layers_of_node(part, node, (*trail, node.name))


def _groups_of_class(layers: Any, base_name: str) -> list[Any]:
    """Return the groups of one class that have weights, in the order of the layers."""
    numbers = {}
    for name in layers:
        if match := re.fullmatch(rf"{re.escape(base_name)}(?:_([0-9]+))?", name):
            numbers[name] = int(match[1] or 0)
    groups = [layers[name] for name in sorted(numbers, key=numbers.__getitem__)]
    return [group for group in groups if _find_weights(group)]


def _match_groups(groups: list[Any], nodes: list[Node]) -> list[tuple[Node, Any]]:
    """Return pairs of a layer and its group.

    Keras 3.3 and later write the layer's name into its group. Without names the order counts.
    """
    expected = [node for node in nodes if _has_weights(node)]
    in_order = [*expected, *filter(_has_unknown_class, nodes)][: len(groups)]
    by_name = {node.name: node for node in nodes}
    names = [_stored_name(group) for group in groups]
    chosen = [by_name[name] for name in names if name in by_name] if any(names) else in_order
    if len(chosen) != len(groups):
        raise SourceError(f"the file has weights of layers that the model lacks: {names}")
    if lost := [node.name for node in expected if all(node is not other for other in chosen)]:
        raise SourceError(
            f"layer {lost[0]!r}: its weights are not at its place in the file; of a layer that "
            "two models share, Keras stores the weights in one of them only"
        )
    return list(zip(chosen, groups, strict=True))


def _stored_name(group: Any) -> str | None:
    return find_strings(group["vars"], "name") if "vars" in group else None


def _has_weights(node: Node) -> bool:
    if node.children:
        return any(map(_has_weights, node.children))
    rule = LAYER_RULES.get(node.class_name)
    return rule is not None and bool(rule.expected_weights(node.config))


def _has_unknown_class(node: Node) -> bool:
    if node.children:
        return any(map(_has_unknown_class, node.children))
    return node.class_name not in LAYER_RULES


def _layers_of_node(group: Any, node: Node, trail: tuple[str, ...]) -> Iterator[KerasLayer]:
    if node.is_model:
        yield from _layers_of_model(group, node, trail)
        return
    for path, inner, suffix in node.unwrap():
        layer = KerasLayer(".".join(trail), inner.class_name, inner.config, {}, suffix)
        if (rule := LAYER_RULES.get(inner.class_name)) is None:
            yield replace(layer, weights=_find_weights(group))
            return
        numbered = group[f"{path}{rule.group}/vars".lstrip("/")]
        datasets = [numbered[name] for name in sorted(numbered, key=int)]
        names = rule.expected_weights(inner.config)
        if len(datasets) != len(names):
            raise layer.error(f"expected {len(names)} weights, found {len(datasets)}")
        yield replace(layer, weights=dict(zip(names, datasets, strict=True)))


def _to_snake_case(name: str) -> str:
    """Return the same as `keras.src.utils.naming.to_snake_case`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
