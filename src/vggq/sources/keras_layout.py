"""Keras weights as torch wants them: names ending in weight and bias, output channels first.

Keras keeps a convolution's kernel as (spatial…, in, out) and a dense one's as (in, out);
torch wants (out, in, spatial…) and (out, in).
https://keras.io/api/layers/convolution_layers/convolution2d
https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from ..errors import SourceError

# Keras 1 wrote W and b where later versions write kernel and bias.
_ROLES: Final = {"kernel": "weight", "W": "weight", "bias": "bias", "b": "bias"}
_CLASSES: Final = frozenset({"Conv1D", "Conv2D", "Conv3D", "Dense"})
_KERNEL_DIMENSIONS: Final = range(2, 6)


@dataclass(frozen=True, slots=True)
class LaidOutWeight:
    """A dataset, its name in torch, and the order in which torch wants its axes."""

    dataset: Any
    name: str
    axes: tuple[int, ...]


def find_weights(file: Any) -> list[LaidOutWeight]:
    """The weights of every layer of an open HDF5 file of Keras 1 or 2.

    Raises:
        SourceError: it does not name its layers, or a weight has no known counterpart.

    """
    root = file.get("model_weights", file)
    if "layer_names" not in root.attrs:
        raise SourceError("layout = 'torch' needs a Keras file that names its layers (layer_names)")
    classes = _classes(file)
    return [
        weight
        for layer in map(_text, root.attrs["layer_names"])
        for weight in _layer_weights(root[layer], layer, classes.get(layer))
    ]


def _layer_weights(group: Any, layer: str, class_name: str | None) -> list[LaidOutWeight]:
    paths = [_text(path) for path in group.attrs["weight_names"]]
    if paths and class_name is not None and class_name not in _CLASSES:
        raise SourceError(
            f"layer {layer!r} is a {class_name}, which layout = 'torch' does not know"
        )
    return [_laid_out(group[path], path, layer) for path in paths]


def _laid_out(dataset: Any, path: str, layer: str) -> LaidOutWeight:
    role = _ROLES.get(_role(path, layer))
    if role is None:
        raise SourceError(f"layer {layer!r}: layout = 'torch' does not know its weight {path!r}")
    axes = tuple(range(dataset.ndim))
    if role == "weight":
        if dataset.ndim not in _KERNEL_DIMENSIONS:
            raise SourceError(
                f"layer {layer!r}: a kernel of shape {dataset.shape} is none of torch's"
            )
        axes = (axes[-1], axes[-2], *axes[:-2])
    return LaidOutWeight(dataset, f"{layer}.{role}", axes)


def _role(path: str, layer: str) -> str:
    """``kernel`` of ``conv1/kernel:0``; ``W`` of ``conv1_W_1:0``."""
    last = path.rpartition("/")[2].partition(":")[0]
    return re.sub(r"_[0-9]+$", "", last.removeprefix(f"{layer}_"))


def _classes(file: Any) -> dict[str, str]:
    """The class of each layer, where the file has the model and not its weights only."""
    config = file.attrs.get("model_config")
    if config is None:
        return {}
    layers = json.loads(config).get("config", {})
    layers = layers.get("layers", []) if isinstance(layers, dict) else layers
    return {layer["config"]["name"]: layer["class_name"] for layer in layers}


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
