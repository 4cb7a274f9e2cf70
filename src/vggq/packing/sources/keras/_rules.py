"""Rules for converting Keras layers to torch, one per class of layers.

The tests compare the outputs of the two frameworks for every class.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from ....errors import SourceError
from ._feedforward import (
    convert_batch_norm,
    convert_convolution,
    convert_depthwise,
    convert_embedding,
    convert_layer_norm,
    convert_prelu,
    convert_rms_norm,
    convert_scale_and_offset,
    convert_separable,
)
from ._recurrent import convert_gru, convert_lstm, convert_simple_rnn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ._layer import KerasLayer, TorchTensor


@dataclass(frozen=True, slots=True)
class LayerRule:
    """Rule for a class of Keras layers.

    Attributes:
        weights: names of all possible weights, in the order in which Keras numbers them, and the
            number of dimensions of each; None for any number.
        convert: yields the tensors of a layer; their names are relative to its module.
        required_options: options, and the values of them that torch has a counterpart of.
        group: place of the weights below the layer's own group, in Keras 3.
        renamed_weights: weights that older versions of Keras stored under another name, by it.

    """

    weights: Mapping[str, int | None]
    convert: Callable[[KerasLayer], Iterator[TorchTensor]]
    required_options: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    group: str = ""
    renamed_weights: Mapping[str, str] = field(default_factory=dict)

    def expected_weights(self, config: dict[str, Any]) -> list[str]:
        """Return the names of the weights that a layer with these options has."""
        return [name for name in self.weights if config.get(_WEIGHT_OPTIONS.get(name, ""), True)]


# The option that decides whether a layer has the weight.
_WEIGHT_OPTIONS: Final = {"bias": "use_bias", "gamma": "scale", "beta": "center"}


def _convolution_rule(dimensions: int) -> LayerRule:
    return LayerRule({"kernel": dimensions + 2, "bias": 1}, convert_convolution)


def _depthwise_rule(dimensions: int) -> LayerRule:
    weights = {"kernel": dimensions + 2, "bias": 1}
    renamed_weights = {"depthwise_kernel": "kernel"}
    return LayerRule(weights, convert_depthwise, renamed_weights=renamed_weights)


_RECURRENT_WEIGHTS: Final = {"kernel": 2, "recurrent_kernel": 2, "bias": 1}
_GATE_ACTIVATIONS: Final = {"activation": ("tanh",), "recurrent_activation": ("sigmoid",)}
_SCALE_AND_OFFSET: Final = {"gamma": None, "beta": None}
_MOVING_AVERAGES: Final = {"moving_mean": 1, "moving_variance": 1}

LAYER_RULES: Final[dict[str, LayerRule]] = {
    "BatchNormalization": LayerRule(
        {"gamma": 1, "beta": 1, **_MOVING_AVERAGES}, convert_batch_norm
    ),
    "Conv1D": _convolution_rule(1),
    "Conv1DTranspose": _convolution_rule(1),
    "Conv2D": _convolution_rule(2),
    "Conv2DTranspose": _convolution_rule(2),
    "Conv3D": _convolution_rule(3),
    "Conv3DTranspose": _convolution_rule(3),
    "Dense": _convolution_rule(0),
    "DepthwiseConv1D": _depthwise_rule(1),
    "DepthwiseConv2D": _depthwise_rule(2),
    "Embedding": LayerRule({"embeddings": 2}, convert_embedding),
    "GRU": LayerRule({**_RECURRENT_WEIGHTS, "bias": None}, convert_gru, _GATE_ACTIVATIONS, "cell"),
    "GroupNormalization": LayerRule({"gamma": 1, "beta": 1}, convert_scale_and_offset),
    "LSTM": LayerRule(_RECURRENT_WEIGHTS, convert_lstm, _GATE_ACTIVATIONS, "cell"),
    "LayerNormalization": LayerRule(
        _SCALE_AND_OFFSET, convert_layer_norm, {"rms_scaling": (False,)}
    ),
    "PReLU": LayerRule({"alpha": None}, convert_prelu),
    "RMSNormalization": LayerRule({"scale": None}, convert_rms_norm),
    "SeparableConv1D": LayerRule(
        {"depthwise_kernel": 3, "pointwise_kernel": 3, "bias": 1}, convert_separable
    ),
    "SeparableConv2D": LayerRule(
        {"depthwise_kernel": 4, "pointwise_kernel": 4, "bias": 1}, convert_separable
    ),
    "SimpleRNN": LayerRule(
        _RECURRENT_WEIGHTS, convert_simple_rnn, {"activation": ("tanh", "relu")}, "cell"
    ),
}


def convert_layer(layer: KerasLayer) -> list[TorchTensor]:
    """Return the tensors of a layer, with their names in the state dict.

    Raises:
        SourceError: torch has no counterpart of the layer, or its weights do not fit its class.

    """
    if layer.problem is not None:
        raise SourceError(layer.problem)
    rule = LAYER_RULES.get(layer.class_name)
    if rule is None:
        raise layer.class_error()
    weights = {rule.renamed_weights.get(name, name): data for name, data in layer.weights.items()}
    layer = replace(layer, weights=weights)
    _check_layer(layer, rule)
    return [
        replace(tensor, name=f"{layer.name}.{tensor.name}{layer.suffix}")
        for tensor in rule.convert(layer)
    ]


def _check_layer(layer: KerasLayer, rule: LayerRule) -> None:
    for option, values in rule.required_options.items():
        if layer.config and layer.config.get(option, values[0]) not in values:
            value = layer.config[option]
            raise layer.error(f"{option} = {value!r} has no counterpart in torch")
    for name in layer.weights:
        if name not in rule.weights:
            raise layer.error(f"layout = 'torch' does not support its weight {name!r}")
    for name, dimensions in rule.weights.items():
        _check_weight(layer, name, dimensions)


def _check_weight(layer: KerasLayer, name: str, dimensions: int | None) -> None:
    dataset = layer.weights.get(name)
    if dataset is None:
        if name not in _WEIGHT_OPTIONS or layer.config.get(_WEIGHT_OPTIONS[name], False):
            raise layer.error(f"its weight {name!r} is missing")
    elif dimensions is not None and dataset.ndim != dimensions:
        raise layer.shape_error(name)
