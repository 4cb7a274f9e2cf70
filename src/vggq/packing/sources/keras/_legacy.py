"""The layers of an HDF5 file of Keras 1 or 2, or of Keras 3 in that layout.

A group a layer, the datasets named after the variables. A layer's class is known only where the
whole model was saved; elsewhere the names and shapes of its weights have to tell.
https://github.com/keras-team/keras/blob/v3.15.1/keras/src/legacy/saving/legacy_h5_format.py
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count, takewhile
from typing import Any, Final

from ....errors import SourceError
from . import _attributes
from ._config import Node, read_model
from ._guess import guess
from ._layer import KerasLayer
from ._rules import RULES

# Keras 1 wrote W and b where later versions write kernel and bias.
_ROLES: Final = {"W": "kernel", "b": "bias"}
_OWN_WEIGHTS: Final = "top_level_model_weights"
_DIRECTIONS: Final = ("forward_", "backward_")

Weights = dict[str, Any]
"""Datasets by their paths within the group of a layer."""


def layers_of(file: Any) -> list[KerasLayer]:
    """Every layer that has weights.

    Raises:
        SourceError: the file does not name its layers, or whose a weight is cannot be told.

    """
    root = file.get("model_weights", file)
    names = _names(root, "layer_names")
    if names is None:
        raise SourceError("layout = 'torch' needs a Keras file that names its layers (layer_names)")
    if _OWN_WEIGHTS in root and _names(root[_OWN_WEIGHTS], "weight_names"):
        raise SourceError("the model has weights of its own, which layout = 'torch' does not know")
    nodes = _nodes(file)
    return [
        layer for name in names for layer in _of_layer(name, _weights(root[name]), nodes.get(name))
    ]


def _nodes(file: Any) -> dict[str, Node]:
    config = _attributes.get(file, "model_config")
    if config is None:
        return {}
    return {node.name: node for node in read_model(config).inside}


def _weights(group: Any) -> Weights:
    return {path: group[path] for path in _names(group, "weight_names") or ()}


def _names(group: Any, attribute: str) -> list[str] | None:
    """A list of names; Keras spreads one of more than 64 KB over several attributes."""
    if attribute in group.attrs:
        return [_text(name) for name in _attributes.read(group, attribute)]
    chunks = takewhile(group.attrs.__contains__, (f"{attribute}{i}" for i in count()))
    return [_text(name) for chunk in chunks for name in _attributes.read(group, chunk)] or None


def _of_layer(name: str, weights: Weights, node: Node | None) -> list[KerasLayer]:
    if node is None:
        return guess(name, {end: _by_role(name, part) for end, part in _directions(weights)})
    trails = list(node.leaves())
    found: list[Weights] = [{} for _ in trails]
    for path, dataset in weights.items():
        found[_owner(trails, path)][path] = dataset
    return [
        layer for trail, part in zip(trails, found, strict=True) if part
        for layer in _of_leaf(trail, part)
    ]  # fmt: skip


def _owner(trails: list[tuple[Node, ...]], path: str) -> int:
    """Which layer of a model a weight belongs to: the one whose name, and models, its path has.

    Keras 2 left the models out, and could not keep two layers of one name in one model.
    """
    if len(trails) == 1:
        return 0
    parents = f"/{path.rpartition('/')[0]}/"
    scores = [_score(trail, parents) for trail in trails]
    best = max(scores, default=(0, 0))
    if best[0] == 0 or scores.count(best) > 1:
        raise SourceError(f"which layer the weight {path!r} is of cannot be told")
    return scores.index(best)


def _score(trail: tuple[Node, ...], parents: str) -> tuple[int, int]:
    """How many of a layer's models the path has, and how few it has not."""
    if f"/{trail[-1].name}/" not in parents:
        return 0, 0
    had = sum(f"/{node.name}/" in parents for node in trail)
    return had, had - len(trail)


def _of_leaf(trail: tuple[Node, ...], weights: Weights) -> list[KerasLayer]:
    name, leaf = ".".join(node.name for node in trail), trail[-1]
    parts = leaf.parts()
    split = dict(_directions(weights)) if len(parts) > 1 else {"": weights}
    layers = [KerasLayer(name, node.kind, node.config, {}, end) for _, node, end in parts]
    if odd := [layer for layer in layers if layer.kind not in RULES]:
        raise odd[0].unknown()
    return [
        replace(layer, weights=_by_role(leaf.name, split.get(layer.suffix, {}))) for layer in layers
    ]


def _directions(weights: Weights) -> list[tuple[str, Weights]]:
    """A bidirectional layer's weights by what torch has behind their names."""
    ways: dict[str, Weights] = {}
    for path, dataset in weights.items():
        named = [part for part in path.split("/") if part.startswith(_DIRECTIONS)]
        end = "_reverse" if named and named[-1].startswith(_DIRECTIONS[1]) else ""
        ways.setdefault(end, {})[path] = dataset
    # A layer may be called "backward_" something for reasons of its own.
    return list(ways.items()) if len(ways) == len(_DIRECTIONS) else [("", weights)]


def _by_role(layer: str, weights: Weights) -> Weights:
    roles: Weights = {}
    for path, dataset in weights.items():
        role = _role(path, layer)
        if role in roles:
            raise SourceError(f"layer {layer!r} has two weights named {role!r}")
        roles[role] = dataset
    return roles


def _role(path: str, layer: str) -> str:
    """``kernel`` of ``conv1/kernel:0`` and of ``conv1_W_1:0``."""
    last = path.rpartition("/")[2].partition(":")[0]
    role = re.sub(r"_[0-9]+$", "", last.removeprefix(f"{layer}_"))
    return _ROLES.get(role, role)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
