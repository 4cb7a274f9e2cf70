"""A layer of a Keras file, and a tensor for torch made from one of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ....errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_ADVICE: Final = "; without `layout` the weights keep Keras's names and axes"


@dataclass(frozen=True, slots=True)
class KerasLayer:
    """A Keras layer that has weights.

    Attributes:
        name: name of the torch module: the names of the layer's parents and its own, dotted.
        class_name: name of its class.
        config: its options; empty if the file does not have them.
        weights: datasets by Keras's name of the weight.
        suffix: appended to the names of the tensors in torch.
        problem: why the layer cannot be converted, if that is known without its weights.

    """

    name: str
    class_name: str
    config: dict[str, Any]
    weights: dict[str, Any]
    suffix: str = ""
    problem: str | None = None

    def error(self, reason: str) -> SourceError:
        """Return an error that names this layer and says how to read its file anyway."""
        return SourceError(f"layer {self.name!r} ({self.class_name}): {reason}{_ADVICE}")

    def class_error(self) -> SourceError:
        """Return the error for an unsupported class."""
        return self.error("layout = 'torch' does not support this class")

    def shape_error(self, weight: str) -> SourceError:
        """Return the error for a weight with an unsupported shape."""
        shape = self.weights[weight].shape
        return self.error(f"the shape {shape} of its weight {weight!r} is not supported")

    def unconverted(self, problem: str) -> list[TorchTensor]:
        """Return the weights of a layer that cannot be converted, so that `drop` can name them."""
        return [
            TorchTensor(
                f"{self.name}.{weight}{self.suffix}", data, data.shape, np.asarray, problem=problem
            )
            for weight, data in self.weights.items()
        ]


@dataclass(frozen=True, slots=True)
class TorchTensor:
    """A tensor for torch, converted from one dataset when it is read.

    Attributes:
        name: name in the state dict.
        dataset: the HDF5 dataset.
        shape: shape in torch.
        convert: returns the tensor for the values of the dataset.
        dtype: safetensors name of its dtype, if it differs from the dataset's.
        problem: why it cannot be packed, whatever its dataset is.

    """

    name: str
    dataset: Any
    shape: tuple[int, ...]
    convert: Callable[[NDArray[Any]], NDArray[Any]]
    dtype: str | None = None
    problem: str | None = None
