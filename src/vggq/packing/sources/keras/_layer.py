"""A Keras layer, and what torch makes of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ....errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_GO_ON: Final = "; without a layout its weights come as Keras has them"


@dataclass(frozen=True, slots=True)
class KerasLayer:
    """A Keras layer that has weights.

    Attributes:
        name: of the torch module: the names of the models that it is in and its own, dotted.
        kind: the name of its class.
        config: its options; empty where the file does not say.
        weights: the datasets under Keras's names of them.
        suffix: behind the names of its tensors in torch.

    """

    name: str
    kind: str
    config: dict[str, Any]
    weights: dict[str, Any]
    suffix: str = ""

    def refuse(self, why: str) -> SourceError:
        """The error to raise over it."""
        return SourceError(f"layer {self.name!r} ({self.kind}) {why}{_GO_ON}")

    def unknown(self) -> SourceError:
        """The error to raise over its class."""
        return self.refuse("is none that layout = 'torch' knows")

    def misshapen(self, weight: str) -> SourceError:
        """The error to raise over one of its weights."""
        shape = self.weights[weight].shape
        return self.refuse(f"has a weight {weight!r} of shape {shape}, which does not fit")


@dataclass(frozen=True, slots=True)
class TorchTensor:
    """A tensor as torch wants it, made of one dataset when it is read.

    Attributes:
        name: its name in the state dict.
        dataset: what it is made of.
        shape: its sizes in torch.
        make: makes it of the dataset's values.
        dtype: the safetensors name of its dtype, where that is not the dataset's.

    """

    name: str
    dataset: Any
    shape: tuple[int, ...]
    make: Callable[[NDArray[Any]], NDArray[Any]]
    dtype: str | None = None
