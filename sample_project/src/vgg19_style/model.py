"""The convolutional layers of VGG19 as a torch module."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

import vgg19_style

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Output channels of the convolutions of each block: configuration E of Simonyan and Zisserman,
# "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014,
# https://arxiv.org/abs/1409.1556
BLOCKS: Final = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)
# Mean blue, green and red of the training images, from 0 to 255.
MEANS: Final = (103.939, 116.779, 123.68)


class VGG19(nn.Sequential):
    """The convolutional layers of VGG19, with the weights of this package.

    Layers are named ``block1_conv1``, ``block1_relu1``, …, ``block1_pool``, and so on. The input
    is a batch of RGB images of shape (n, 3, height, width), from 0 to 1. `preprocess` converts it
    to the input of the original network.

    Args:
        weights: the state dict as arrays; by default the weights of this package.
        pooling: "max", as in the training of the network, or "avg", which gives smoother images
            (Gatys et al.).

    """

    def __init__(self, weights: Mapping[str, Any] | None = None, pooling: str = "max") -> None:
        pool = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}[pooling]
        super().__init__(_layers(pool))
        arrays = vgg19_style.weights if weights is None else weights
        self.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})

    def activations(self, images: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Return the outputs of the named layers; layers after the last of them are not run."""
        remaining = set(names)
        outputs: dict[str, Tensor] = {}
        values = preprocess(images)
        for name, layer in self.named_children():
            if not remaining:
                break
            values = layer(values)
            if name in remaining:
                outputs[name] = values
                remaining.remove(name)
        return outputs

    def forward(self, images: Tensor) -> Tensor:
        """Return the output of the last layer, of shape (n, 512, height / 32, width / 32)."""
        features: Tensor = super().forward(preprocess(images))
        return features


def preprocess(images: Tensor) -> Tensor:
    """Convert RGB from 0 to 1 to the input of the network: BGR from 0 to 255 minus the means."""
    means = images.new_tensor(MEANS).reshape(3, 1, 1)
    return images.flip(1) * 255 - means


def _layers(pool: type[nn.Module]) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 3
    for block, widths in enumerate(BLOCKS, 1):
        for number, width in enumerate(widths, 1):
            layers[f"block{block}_conv{number}"] = nn.Conv2d(channels, width, 3, padding=1)
            layers[f"block{block}_relu{number}"] = nn.ReLU()
            channels = width
        layers[f"block{block}_pool"] = pool(2, 2)
    return layers
