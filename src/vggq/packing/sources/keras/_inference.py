"""Infer the class of a Keras layer from the names and shapes of its weights."""

from __future__ import annotations

from typing import Any, Final

from ....errors import SourceError
from ._layer import KerasLayer

# Classes by number of dimensions, or of gates. The kernel of a transposed convolution needs the
# same permutation of axes as that of a plain one.
_KERNEL_CLASSES: Final = {2: "Dense", 3: "Conv1D", 4: "Conv2D", 5: "Conv3D"}
_GATE_CLASSES: Final = {1: "SimpleRNN", 3: "GRU", 4: "LSTM"}
_CLASSES_BY_DIMENSIONS: Final = {
    "pointwise_kernel": {3: "SeparableConv1D", 4: "SeparableConv2D"},
    "depthwise_kernel": {3: "DepthwiseConv1D", 4: "DepthwiseConv2D"},
    "kernel": _KERNEL_CLASSES,
}
# The first name in this order that a layer has decides.
_CLASSES_BY_WEIGHT: Final = {
    "moving_mean": "BatchNormalization",
    "gamma": "LayerNormalization",
    "beta": "LayerNormalization",
    "embeddings": "Embedding",
    "alpha": "PReLU",
}


def infer_layers(name: str, directions: dict[str, dict[str, Any]]) -> list[KerasLayer]:
    """Return a layer of unknown class, once per direction; with a problem if it stays unknown.

    Args:
        name: name of the layer.
        directions: the weights by name, for each suffix that torch appends to tensor names; more
            than one if the layer is bidirectional.

    """
    return [
        _infer_layer(name, weights, suffix) for suffix, weights in directions.items() if weights
    ]


def _infer_layer(name: str, weights: dict[str, Any], suffix: str) -> KerasLayer:
    try:
        return KerasLayer(name, _infer_class(name, weights), {}, weights, suffix)
    except SourceError as error:
        return KerasLayer(name, "unknown", {}, weights, suffix, error.reason)


def _infer_class(name: str, weights: dict[str, Any]) -> str:
    if (recurrent := weights.get("recurrent_kernel")) is not None:
        gates = recurrent.shape[-1] // (recurrent.shape[0] or 1)
        return _look_up(name, recurrent, _GATE_CLASSES, gates)
    for weight, classes in _CLASSES_BY_DIMENSIONS.items():
        if weight in weights:
            return _look_up(name, weights[weight], classes, weights[weight].ndim)
    for weight, class_name in _CLASSES_BY_WEIGHT.items():
        if weight in weights:
            return class_name
    raise SourceError(
        f"layer {name!r}: cannot infer the layer's class from its weight {next(iter(weights))!r}"
    )


def _look_up(name: str, kernel: Any, classes: dict[int, str], number: int) -> str:
    if number not in classes:
        raise SourceError(
            f"layer {name!r}: no layer of torch has a kernel of the shape {kernel.shape}"
        )
    return classes[number]
