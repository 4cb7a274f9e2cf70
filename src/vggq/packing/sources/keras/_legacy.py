"""The layers of an HDF5 file of Keras 1 or 2, or of Keras 3 in that format.

Each layer has a group, whose datasets are named after the variables. The file states the class of a
layer only if the whole model was saved; otherwise names and shapes of its weights must suffice.
https://github.com/keras-team/keras/blob/v3.15.1/keras/src/legacy/saving/legacy_h5_format.py
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count, takewhile
from typing import Any, Final

from ....errors import SourceError
from ._attributes import find_strings, read_strings
from ._config import Node, parse_model_config
from ._inference import infer_layers
from ._layer import KerasLayer
from ._rules import LAYER_RULES

# Keras 1 wrote W and b instead of kernel and bias.
_KERAS_1_NAMES: Final = {"W": "kernel", "b": "bias"}
_DIRECTION_PREFIXES: Final = ("forward_", "backward_")

Datasets = dict[str, Any]
"""Datasets by their paths within the group of a layer, or by the name of the weight."""


def find_legacy_layers(file: Any) -> list[KerasLayer]:
    """Return every layer that has weights.

    Raises:
        SourceError: the file does not name its layers, or the layer of a weight is unclear.

    """
    root = file.get("model_weights", file)
    names = _read_names(root, "layer_names")
    if names is None:
        raise SourceError("layout = 'torch' needs a Keras file that names its layers (layer_names)")
    nodes = _read_nodes(file)
    return [
        layer
        for name in names
        for layer in _split_layer(name, _read_datasets(root[name]), nodes.get(name))
    ]


def _read_nodes(file: Any) -> dict[str, Node]:
    config = find_strings(file, "model_config")
    if config is None:
        return {}
    return {node.name: node for node in parse_model_config(config).children}


def _read_datasets(group: Any) -> Datasets:
    return {path: group[path] for path in _read_names(group, "weight_names") or ()}


def _read_names(group: Any, attribute: str) -> list[str] | None:
    """Return a list of names; Keras splits a list above 64 KB into several attributes."""
    if attribute in group.attrs:
        return [_to_text(name) for name in read_strings(group, attribute)]
    chunks = takewhile(group.attrs.__contains__, (f"{attribute}{i}" for i in count()))
    return [_to_text(name) for chunk in chunks for name in read_strings(group, chunk)] or None


def _split_layer(name: str, datasets: Datasets, node: Node | None) -> list[KerasLayer]:
    """Return the layers in a top-level layer, which may be a model or a wrapper."""
    if node is None:
        directions = _split_directions(datasets)
        return infer_layers(name, {end: _name_weights(name, part) for end, part in directions})
    trails = list(node.leaves())
    parts: list[Datasets] = [{} for _ in trails]
    for path, dataset in datasets.items():
        parts[_owner_index(trails, path)][path] = dataset
    return [
        layer
        for trail, part in zip(trails, parts, strict=True) if part
        for layer in _unwrap_leaf(trail, part)
    ]  # fmt: skip


def _owner_index(trails: list[tuple[Node, ...]], path: str) -> int:
    """Return the index of the layer that a weight belongs to.

    The owner is the layer whose name, and whose parents' names, are in the weight's path. Keras 2
    left out the parents, and did not support two layers with the same name in one model.
    """
    if len(trails) == 1:
        return 0
    parents = f"/{path.rpartition('/')[0]}/"
    scores = [_match_score(trail, parents) for trail in trails]
    best = max(scores, default=(0, 0))
    if best[0] == 0 or scores.count(best) > 1:
        raise SourceError(f"cannot find the layer of the weight {path!r} in the model")
    return scores.index(best)


def _match_score(trail: tuple[Node, ...], parents: str) -> tuple[int, int]:
    """Return the number of the trail's names in the path, and the negated number of the others."""
    if f"/{trail[-1].name}/" not in parents:
        return 0, 0
    found = sum(f"/{node.name}/" in parents for node in trail)
    return found, found - len(trail)


def _unwrap_leaf(trail: tuple[Node, ...], datasets: Datasets) -> list[KerasLayer]:
    name, leaf = ".".join(node.name for node in trail), trail[-1]
    wrapped = leaf.unwrap()
    directions = dict(_split_directions(datasets)) if len(wrapped) > 1 else {"": datasets}
    layers = [
        KerasLayer(name, node.class_name, node.config, {}, suffix) for _, node, suffix in wrapped
    ]
    if unknown := [layer for layer in layers if layer.class_name not in LAYER_RULES]:
        return [replace(unknown[0], weights=datasets)]
    return [
        replace(layer, weights=_name_weights(leaf.name, directions.get(layer.suffix, {})))
        for layer in layers
    ]


def _split_directions(datasets: Datasets) -> list[tuple[str, Datasets]]:
    """Return the weights of each direction, after the suffix that torch gives its tensors."""
    directions: dict[str, Datasets] = {}
    for path, dataset in datasets.items():
        named = [part for part in path.split("/") if part.startswith(_DIRECTION_PREFIXES)]
        is_backward = bool(named) and named[-1].startswith(_DIRECTION_PREFIXES[1])
        directions.setdefault("_reverse" if is_backward else "", {})[path] = dataset
    # The name of a layer with one direction may happen to start with "backward_".
    return list(directions.items()) if len(directions) == 2 else [("", datasets)]


def _name_weights(layer: str, datasets: Datasets) -> Datasets:
    weights: Datasets = {}
    for path, dataset in datasets.items():
        name = _weight_name(path, layer)
        if name in weights:
            raise SourceError(f"layer {layer!r}: two weights have the name {name!r}")
        weights[name] = dataset
    return weights


def _weight_name(path: str, layer: str) -> str:
    """Return the name of the weight: ``kernel`` for ``conv1/kernel:0`` and ``conv1_W_1:0``."""
    last = path.rpartition("/")[2].partition(":")[0]
    name = re.sub(r"_[0-9]+$", "", last.removeprefix(f"{layer}_"))
    return _KERAS_1_NAMES.get(name, name)


def _to_text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
