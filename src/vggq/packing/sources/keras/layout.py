"""Keras weights under torch's names and with torch's axes: layout = "torch"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ....errors import SourceError
from ._config import parse_model_config
from ._legacy import find_legacy_layers
from ._numbered import find_numbered_layers, is_numbered, is_training_state
from ._rules import convert_layer

__all__ = ["NUMBERED_ADVICE", "convert_archived_file", "convert_file", "is_training_state"]

NUMBERED_ADVICE: Final = (
    "a weights file of Keras 3 does not describe its layers, as layout = 'torch' needs; save the "
    "whole model instead: model.save('model.keras')"
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._layer import KerasLayer, TorchTensor


def convert_file(file: Any) -> list[TorchTensor]:
    """Return the tensors for torch of an open HDF5 file that is not part of an archive.

    Raises:
        SourceError: the file does not name its layers, or the layer of a weight is unclear.

    """
    if is_numbered(file):
        raise SourceError(NUMBERED_ADVICE)
    return _convert_layers(find_legacy_layers(file))


def convert_archived_file(file: Any, config: bytes) -> list[TorchTensor]:
    """Return the tensors for torch of the HDF5 file in a ``.keras`` archive.

    Args:
        file: the open HDF5 file.
        config: the configuration of the model in the archive, in JSON.

    Raises:
        SourceError: the two do not fit together.

    """
    return _convert_layers(find_numbered_layers(file, parse_model_config(config)))


def _convert_layers(layers: Iterable[KerasLayer]) -> list[TorchTensor]:
    """Return the tensors of all layers; those that torch does not support have a problem."""
    return [tensor for layer in layers for tensor in _convert_layer(layer)]


def _convert_layer(layer: KerasLayer) -> list[TorchTensor]:
    try:
        return convert_layer(layer)
    except SourceError as error:
        return layer.unconverted(error.reason)
