"""The Keras layers that torch has a counterpart of, class by class.

The tests hold every one against the outputs of both frameworks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from . import _parts as parts
from ._recurrent import gru, lstm, simple_rnn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ._layer import KerasLayer, TorchTensor


@dataclass(frozen=True, slots=True)
class Rule:
    """A class of Keras layers.

    Attributes:
        weights: the names of all the weights that one may have, in the order in which Keras
            numbers them, and how many dimensions each has; None for any number.
        parts: gives the tensors of one; their names are within the module.
        demands: options, and the values of them of which torch has a counterpart.
        inside: where the weights lie below the layer's own group, in Keras 3.
        former: what Keras called weights before it called them so.

    """

    weights: Mapping[str, int | None]
    parts: Callable[[KerasLayer], Iterator[TorchTensor]]
    demands: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    inside: str = ""
    former: Mapping[str, str] = field(default_factory=dict)

    def expected(self, config: dict[str, Any]) -> list[str]:
        """The weights that a layer of these options has."""
        return [name for name in self.weights if config.get(_SWITCHES.get(name, ""), True)]


_SWITCHES: Final = {"bias": "use_bias", "gamma": "scale", "beta": "center"}


def _convolution(dimensions: int) -> Rule:
    return Rule({"kernel": dimensions + 2, "bias": 1}, parts.plain)


def _depthwise(dimensions: int) -> Rule:
    weights = {"kernel": dimensions + 2, "bias": 1}
    return Rule(weights, parts.depthwise, former={"depthwise_kernel": "kernel"})


_RECURRENT: Final = {"kernel": 2, "recurrent_kernel": 2, "bias": 1}
_GATED: Final = {"activation": ("tanh",), "recurrent_activation": ("sigmoid",)}
_AFFINE: Final = {"gamma": None, "beta": None}
_STATISTICS: Final = {"moving_mean": 1, "moving_variance": 1}

RULES: Final[dict[str, Rule]] = {
    "BatchNormalization": Rule({"gamma": 1, "beta": 1, **_STATISTICS}, parts.norm),
    "Conv1D": _convolution(1),
    "Conv1DTranspose": _convolution(1),
    "Conv2D": _convolution(2),
    "Conv2DTranspose": _convolution(2),
    "Conv3D": _convolution(3),
    "Conv3DTranspose": _convolution(3),
    "Dense": _convolution(0),
    "DepthwiseConv1D": _depthwise(1),
    "DepthwiseConv2D": _depthwise(2),
    "Embedding": Rule({"embeddings": 2}, parts.embedding),
    "GRU": Rule({**_RECURRENT, "bias": None}, gru, _GATED, "cell"),
    "GroupNormalization": Rule({"gamma": 1, "beta": 1}, parts.scale_and_offset),
    "LSTM": Rule(_RECURRENT, lstm, _GATED, "cell"),
    "LayerNormalization": Rule(_AFFINE, parts.layer_norm, {"rms_scaling": (False,)}),
    "PReLU": Rule({"alpha": None}, parts.prelu),
    "RMSNormalization": Rule({"scale": None}, parts.rms_norm),
    "SeparableConv1D": Rule(
        {"depthwise_kernel": 3, "pointwise_kernel": 3, "bias": 1}, parts.separable
    ),
    "SeparableConv2D": Rule(
        {"depthwise_kernel": 4, "pointwise_kernel": 4, "bias": 1}, parts.separable
    ),
    "SimpleRNN": Rule(
        _RECURRENT, simple_rnn, {"activation": ("tanh", "relu")}, "cell"
    ),
}  # fmt: skip


def tensors_of(layer: KerasLayer) -> list[TorchTensor]:
    """The tensors of a layer of one of these classes, under their names in the state dict.

    Raises:
        SourceError: torch has no counterpart of it, or its weights are not those of its class.

    """
    rule = RULES[layer.kind]
    weights = {rule.former.get(name, name): data for name, data in layer.weights.items()}
    layer = replace(layer, weights=weights)
    _check(layer, rule)
    return [
        replace(part, name=f"{layer.name}.{part.name}{layer.suffix}") for part in rule.parts(layer)
    ]


def _check(layer: KerasLayer, rule: Rule) -> None:
    for option, values in rule.demands.items():
        if layer.config and layer.config.get(option, values[0]) not in values:
            value = layer.config[option]
            raise layer.refuse(f"has {option} = {value!r}, of which torch has no counterpart")
    for name in layer.weights:
        if name not in rule.weights:
            raise layer.refuse(f"has a weight {name!r}, which layout = 'torch' does not know")
    for name, dimensions in rule.weights.items():
        _check_one(layer, name, dimensions)


def _check_one(layer: KerasLayer, name: str, dimensions: int | None) -> None:
    dataset = layer.weights.get(name)
    if dataset is None:
        if name not in _SWITCHES or layer.config.get(_SWITCHES[name], False):
            raise layer.refuse(f"is without its {name!r}")
    elif dimensions is not None and dataset.ndim != dimensions:
        raise layer.misshapen(name)
