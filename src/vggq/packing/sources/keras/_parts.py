"""What torch makes of the weights of Keras layers that keep no state.

Keras keeps a convolution's kernel as (spatial…, in, out), a transposed one's as (spatial…, out,
in) and a dense one's as (in, out); torch wants (out, in, spatial…), (in, out, spatial…) and
(out, in).
https://keras.io/api/layers/convolution_layers
https://docs.pytorch.org/docs/stable/nn.html#convolution-layers
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ._layer import KerasLayer, TorchTensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


def plain(layer: KerasLayer) -> Iterator[TorchTensor]:
    yield _kernel(layer, "kernel", "weight")
    yield from _same(layer, "bias", "bias")


def depthwise(layer: KerasLayer) -> Iterator[TorchTensor]:
    yield _channels_apart(layer, "kernel", "weight")
    yield from _same(layer, "bias", "bias")


def separable(layer: KerasLayer) -> Iterator[TorchTensor]:
    yield _channels_apart(layer, "depthwise_kernel", "depthwise.weight")
    yield _kernel(layer, "pointwise_kernel", "pointwise.weight")
    yield from _same(layer, "bias", "pointwise.bias")


def norm(layer: KerasLayer) -> Iterator[TorchTensor]:
    yield from scale_and_offset(layer)
    yield from _same(layer, "moving_mean", "running_mean")
    yield from _same(layer, "moving_variance", "running_var")


def scale_and_offset(layer: KerasLayer) -> Iterator[TorchTensor]:
    """Both or neither, as torch has them: the one that Keras left out changes nothing."""
    for ours, theirs, other, fill in (
        ("gamma", "weight", "beta", _ones),
        ("beta", "bias", "gamma", zeros),
    ):
        yield from _same(layer, ours, theirs)
        if ours not in layer.weights and (dataset := layer.weights.get(other)):
            yield TorchTensor(theirs, dataset, dataset.shape, fill, "F32")


def layer_norm(layer: KerasLayer) -> Iterator[TorchTensor]:
    _check_axes(layer)
    return scale_and_offset(layer)


def rms_norm(layer: KerasLayer) -> Iterator[TorchTensor]:
    _check_axes(layer)
    return _same(layer, "scale", "weight")


def _check_axes(layer: KerasLayer) -> None:
    """They have to be the last, as torch's are; a file may leave open which these are."""
    axes = layer.config.get("axis", -1)
    axes = sorted(axes) if isinstance(axes, list) else [axes]
    from_zero = len(layer.config.get("input_shape") or ()) or axes[-1] + 1
    end = from_zero if axes[-1] >= 0 else 0
    if axes != list(range(end - len(axes), end)):
        raise layer.refuse(f"is over the axes {axes}, and torch's is over the last")


def embedding(layer: KerasLayer) -> Iterator[TorchTensor]:
    return _same(layer, "embeddings", "weight")


def prelu(layer: KerasLayer) -> Iterator[TorchTensor]:
    """One slope for all, or one a channel, as in torch; Keras has the channels last."""
    dataset = layer.weights["alpha"]
    count = math.prod(dataset.shape)
    if not dataset.shape or dataset.shape[-1] != count:
        raise layer.misshapen("alpha")
    yield TorchTensor("weight", dataset, (count,), np.ravel)


def _same(layer: KerasLayer, ours: str, theirs: str) -> Iterator[TorchTensor]:
    if dataset := layer.weights.get(ours):
        yield TorchTensor(theirs, dataset, dataset.shape, np.asarray)


def _kernel(layer: KerasLayer, ours: str, theirs: str) -> TorchTensor:
    """The last two axes first, and swapped."""
    dataset = layer.weights[ours]
    axes = (dataset.ndim - 1, dataset.ndim - 2, *range(dataset.ndim - 2))
    shape = tuple(dataset.shape[axis] for axis in axes)
    return TorchTensor(theirs, dataset, shape, partial(np.transpose, axes=axes))


def _channels_apart(layer: KerasLayer, ours: str, theirs: str) -> TorchTensor:
    """A depthwise kernel, (spatial…, in, multiplier), as that of a convolution in `in` groups."""
    dataset = layer.weights[ours]
    *spatial, inputs, multiplier = dataset.shape
    shape = (inputs * multiplier, 1, *spatial)
    return TorchTensor(theirs, dataset, shape, partial(_separate, shape=shape))


def _separate(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    return np.moveaxis(values, (-2, -1), (0, 1)).reshape(shape)


def _ones(values: NDArray[Any]) -> NDArray[Any]:
    return np.ones(values.shape, np.float32)


def zeros(values: NDArray[Any]) -> NDArray[Any]:
    return np.zeros(values.shape, np.float32)
