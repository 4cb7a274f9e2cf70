"""Conversion of the weights of Keras layers that are not recurrent to tensors for torch.

Keras stores the kernel of a convolution as (spatial…, in, out), of a transposed convolution as
(spatial…, out, in), and of a dense layer as (in, out). torch stores them as (out, in, spatial…),
(in, out, spatial…) and (out, in).
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


def convert_convolution(layer: KerasLayer) -> Iterator[TorchTensor]:
    """Convert a convolution, a transposed convolution or a dense layer."""
    yield _convert_kernel(layer, "kernel", "weight")
    yield from _copy(layer, "bias", "bias")


def convert_depthwise(layer: KerasLayer) -> Iterator[TorchTensor]:
    yield _convert_depthwise_kernel(layer, "kernel", "weight")
    yield from _copy(layer, "bias", "bias")


def convert_separable(layer: KerasLayer) -> Iterator[TorchTensor]:
    yield _convert_depthwise_kernel(layer, "depthwise_kernel", "depthwise.weight")
    yield _convert_kernel(layer, "pointwise_kernel", "pointwise.weight")
    yield from _copy(layer, "bias", "pointwise.bias")


def convert_batch_norm(layer: KerasLayer) -> Iterator[TorchTensor]:
    yield from convert_scale_and_offset(layer)
    yield from _copy(layer, "moving_mean", "running_mean")
    yield from _copy(layer, "moving_variance", "running_var")


def convert_scale_and_offset(layer: KerasLayer) -> Iterator[TorchTensor]:
    """Convert scale and offset; torch has both or neither, so a missing one becomes neutral."""
    for keras_name, torch_name, other, neutral in (
        ("gamma", "weight", "beta", _float32_ones),
        ("beta", "bias", "gamma", float32_zeros),
    ):
        yield from _copy(layer, keras_name, torch_name)
        if keras_name not in layer.weights and (dataset := layer.weights.get(other)):
            yield TorchTensor(torch_name, dataset, dataset.shape, neutral, "F32")


def convert_layer_norm(layer: KerasLayer) -> Iterator[TorchTensor]:
    _check_axes(layer)
    return convert_scale_and_offset(layer)


def convert_rms_norm(layer: KerasLayer) -> Iterator[TorchTensor]:
    _check_axes(layer)
    return _copy(layer, "scale", "weight")


def _check_axes(layer: KerasLayer) -> None:
    """Check that the normalized axes are the last ones, as far as the file describes the input."""
    axes = layer.config.get("axis", -1)
    axes = sorted(axes) if isinstance(axes, list) else [axes]
    dimensions = len(layer.config.get("input_shape") or ()) or axes[-1] + 1
    end = dimensions if axes[-1] >= 0 else 0
    if axes != list(range(end - len(axes), end)):
        raise layer.error(f"normalizes the axes {axes}, but torch normalizes only the last axes")


def convert_embedding(layer: KerasLayer) -> Iterator[TorchTensor]:
    return _copy(layer, "embeddings", "weight")


def convert_prelu(layer: KerasLayer) -> Iterator[TorchTensor]:
    """Convert one slope for all channels, or one per channel; Keras has the channels last."""
    dataset = layer.weights["alpha"]
    count = math.prod(dataset.shape)
    if not dataset.shape or dataset.shape[-1] != count:
        raise layer.shape_error("alpha")
    yield TorchTensor("weight", dataset, (count,), np.ravel)


def _copy(layer: KerasLayer, keras_name: str, torch_name: str) -> Iterator[TorchTensor]:
    """Yield the weight unchanged, if the layer has it."""
    if dataset := layer.weights.get(keras_name):
        yield TorchTensor(torch_name, dataset, dataset.shape, np.asarray)


def _convert_kernel(layer: KerasLayer, keras_name: str, torch_name: str) -> TorchTensor:
    """Move the last two axes to the front, and swap them."""
    dataset = layer.weights[keras_name]
    axes = (dataset.ndim - 1, dataset.ndim - 2, *range(dataset.ndim - 2))
    shape = tuple(dataset.shape[axis] for axis in axes)
    return TorchTensor(torch_name, dataset, shape, partial(np.transpose, axes=axes))


def _convert_depthwise_kernel(layer: KerasLayer, keras_name: str, torch_name: str) -> TorchTensor:
    """Convert (spatial…, in, multiplier) to the kernel of a convolution with `in` groups."""
    dataset = layer.weights[keras_name]
    *spatial, inputs, multiplier = dataset.shape
    shape = (inputs * multiplier, 1, *spatial)
    return TorchTensor(torch_name, dataset, shape, partial(_merge_channels, shape=shape))


def _merge_channels(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    return np.moveaxis(values, (-2, -1), (0, 1)).reshape(shape)


def _float32_ones(values: NDArray[Any]) -> NDArray[Any]:
    return np.ones(values.shape, np.float32)


def float32_zeros(values: NDArray[Any]) -> NDArray[Any]:
    return np.zeros(values.shape, np.float32)
