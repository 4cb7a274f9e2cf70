"""The class of a Keras layer by the names and shapes of its weights."""

from __future__ import annotations

from typing import Any, Final

from ....errors import SourceError
from ._layer import KerasLayer

# A transposed convolution has its kernel's axes moved as a plain one has.
_KERNELS: Final = {2: "Dense", 3: "Conv1D", 4: "Conv2D", 5: "Conv3D"}
_GATES: Final = {1: "SimpleRNN", 3: "GRU", 4: "LSTM"}
# The first weight that a layer has of these decides.
_TELLING: Final = {
    "moving_mean": "BatchNormalization",
    "gamma": "LayerNormalization",
    "beta": "LayerNormalization",
    "embeddings": "Embedding",
    "alpha": "PReLU",
}
_WITH_DIMENSIONS: Final = {
    "pointwise_kernel": {3: "SeparableConv1D", 4: "SeparableConv2D"},
    "depthwise_kernel": {3: "DepthwiseConv1D", 4: "DepthwiseConv2D"},
    "kernel": _KERNELS,
}


def guess(name: str, ways: dict[str, dict[str, Any]]) -> list[KerasLayer]:
    """A layer of unknown class.

    Args:
        name: of the layer.
        ways: its weights by name, by what torch has behind the names; more than one if the layer
            is bidirectional.

    Raises:
        SourceError: it cannot be told what it is.

    """
    return [
        KerasLayer(name, _kind(name, weights), {}, weights, end)
        for end, weights in ways.items() if weights
    ]  # fmt: skip


def _kind(name: str, weights: dict[str, Any]) -> str:
    if (recurrent := weights.get("recurrent_kernel")) is not None:
        return _named(name, recurrent, _GATES, recurrent.shape[-1] // (recurrent.shape[0] or 1))
    for weight, kinds in _WITH_DIMENSIONS.items():
        if weight in weights:
            return _named(name, weights[weight], kinds, weights[weight].ndim)
    for weight, kind in _TELLING.items():
        if weight in weights:
            return kind
    raise SourceError(
        f"layer {name!r}: layout = 'torch' does not know its weight {next(iter(weights))!r}"
    )


def _named(name: str, kernel: Any, kinds: dict[int, str], number: int) -> str:
    if number not in kinds:
        raise SourceError(f"layer {name!r}: a kernel of shape {kernel.shape} is none of torch's")
    return kinds[number]
