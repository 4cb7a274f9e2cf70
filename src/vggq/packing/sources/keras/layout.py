"""Keras weights as torch wants them: under torch's names, and laid out as its modules have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....errors import SourceError
from . import _legacy, _numbered
from ._config import read_model
from ._rules import tensors_of

if TYPE_CHECKING:
    from ._layer import TorchTensor


def find_weights(file: Any) -> list[TorchTensor]:
    """The weights of every layer of an open HDF5 file that stands alone.

    Raises:
        SourceError: it does not name its layers, or a layer has no known counterpart.

    """
    if _numbered.is_numbered(file):
        raise SourceError(
            "a weights file of Keras 3 numbers its weights and does not say what its layers are; "
            "for layout = 'torch' save the whole model, model.save('model.keras')"
        )
    return [tensor for layer in _legacy.layers_of(file) for tensor in tensors_of(layer)]


def find_numbered(file: Any, config: bytes) -> list[TorchTensor]:
    """The weights of every layer of the HDF5 file in a ``.keras`` archive.

    Args:
        file: the open HDF5 file.
        config: the archive's description of the model, in JSON.

    Raises:
        SourceError: the two do not fit together, or a layer has no known counterpart.

    """
    layers = _numbered.layers_of(file, read_model(config))
    return [tensor for layer in layers for tensor in tensors_of(layer)]
