"""The layers of a file of Keras 3, whose weights are numbered.

The group of a layer is named after its class, and counted: ``layers/dense_1``; its weights are
``vars/0``, ``vars/1``. The class and the options, which say what these are, come from elsewhere.
https://github.com/keras-team/keras/blob/v3.15.1/keras/src/saving/saving_lib.py
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ....errors import SourceError
from . import _attributes
from ._layer import KerasLayer
from ._rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._config import Node

# Keras 2.12 had the second name for it.
_CONTAINERS: Final = ("layers", "_layer_checkpoint_dependencies")
# The state of training, and of random layers, is no weight.
_NO_WEIGHTS: Final = frozenset(
    {"compile_metrics", "loss_tracker", "metrics", "optimizer", "seed_generator"}
)


def is_numbered(file: Any) -> bool:
    """Whether a file is of Keras 3; a legacy one may have a layer of such a name."""
    legacy = "model_weights" in file or "layer_names" in file.attrs
    return not legacy and any(name in file for name in _CONTAINERS)


def layers_of(file: Any, model: Node) -> list[KerasLayer]:
    """Every layer that has weights.

    Args:
        file: the open HDF5 file.
        model: what the model says of its layers.

    Raises:
        SourceError: the file's layers are not the model's, or a class is not known.

    """
    if not model.is_model:
        raise SourceError(f"the model is a {model.kind}, which does not say what its layers are")
    layers = list(_of_model(file, model, ()))
    taken = {dataset.name for layer in layers for dataset in layer.weights.values()}
    if rest := sorted(set(_weights(file)) - taken):
        raise SourceError(f"whose the weight {rest[0]!r} is, the model does not say")
    return layers


def _weights(group: Any) -> list[str]:
    """The paths of every dataset below a group that is a weight."""
    found: list[str] = []

    def visit(path: str, item: Any) -> None:
        parts = {part.lstrip("_") for part in path.split("/")}
        if hasattr(item, "shape") and not parts & _NO_WEIGHTS:
            found.append(f"{group.name.rstrip('/')}/{path}")

    group.visititems(visit)
    return found


def _of_model(group: Any, model: Node, trail: tuple[str, ...]) -> Iterator[KerasLayer]:
    container: Any = next((group[name] for name in _CONTAINERS if name in group), {})
    alike: dict[str, list[Node]] = {}
    for node in model.inside:
        alike.setdefault(_snake_case(node.kind.rpartition(">")[2]), []).append(node)
    for base, nodes in alike.items():
        for node, part in _pairs(_counted(container, base), nodes):
            yield from _of_node(part, node, (*trail, node.name))


def _counted(container: Any, base: str) -> list[Any]:
    """The groups of one class that have weights, in the order of the layers."""
    numbers = {}
    for name in container:
        if match := re.fullmatch(rf"{re.escape(base)}(?:_([0-9]+))?", name):
            numbers[name] = int(match[1] or 0)
    groups = [container[name] for name in sorted(numbers, key=numbers.__getitem__)]
    return [group for group in groups if _weights(group)]


def _pairs(groups: list[Any], nodes: list[Node]) -> list[tuple[Node, Any]]:
    """Which group is whose; by order where Keras, before 3.3, did not write the layer's name."""
    expected = [node for node in nodes if _has_weights(node)]
    likely = [*expected, *filter(_has_unknown, nodes)][: len(groups)]
    names = {node.name: node for node in nodes}
    given = [_given_name(group) for group in groups]
    chosen = [names[name] for name in given if name in names] if any(given) else likely
    if len(chosen) != len(groups):
        raise SourceError(f"the file has weights of layers that the model has not, {given}")
    if lost := [node.name for node in expected if all(node is not other for other in chosen)]:
        raise SourceError(
            f"the weights of the layer {lost[0]!r} are not where they belong in the file: of a "
            "layer that two models share, Keras keeps them with one of the two"
        )
    return list(zip(chosen, groups, strict=True))


def _given_name(group: Any) -> str | None:
    return _attributes.get(group["vars"], "name") if "vars" in group else None


def _has_weights(node: Node) -> bool:
    if node.inside:
        return any(map(_has_weights, node.inside))
    return node.kind in RULES and bool(RULES[node.kind].expected(node.config))


def _has_unknown(node: Node) -> bool:
    return any(map(_has_unknown, node.inside)) if node.inside else node.kind not in RULES


def _of_node(group: Any, node: Node, trail: tuple[str, ...]) -> Iterator[KerasLayer]:
    if node.is_model:
        yield from _of_model(group, node, trail)
        return
    for path, inner, suffix in node.parts():
        layer = KerasLayer(".".join(trail), inner.kind, inner.config, {}, suffix)
        if (rule := RULES.get(inner.kind)) is None:
            raise layer.unknown()
        numbered = group[f"{path}{rule.inside}/vars".lstrip("/")]
        weights = [numbered[name] for name in sorted(numbered, key=int)]
        names = rule.expected(inner.config)
        if len(weights) != len(names):
            raise layer.refuse(f"has {len(weights)} weights, not {len(names)}")
        yield replace(layer, weights=dict(zip(names, weights, strict=True)))


def _snake_case(name: str) -> str:
    """As `keras.src.utils.naming.to_snake_case`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
