"""Keras weights under torch's names and with torch's axes: layout = "torch"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....errors import SourceError
from ._config import parse_model_config
from ._legacy import find_legacy_layers
from ._numbered import find_numbered_layers, is_numbered
from ._rules import convert_layer

if TYPE_CHECKING:
    from ._layer import TorchTensor


def convert_file(file: Any) -> list[TorchTensor]:
    """Return the tensors for torch of an open HDF5 file that is not part of an archive.

    Raises:
        SourceError: the file does not name its layers, or torch has no counterpart of a layer.

    """
    if is_numbered(file):
        raise SourceError(
            "a weights file of Keras 3 does not describe its layers, as layout = 'torch' needs; "
            "save the whole model instead: model.save('model.keras')"
        )
    return [tensor for layer in find_legacy_layers(file) for tensor in convert_layer(layer)]


def convert_archived_file(file: Any, config: bytes) -> list[TorchTensor]:
    """Return the tensors for torch of the HDF5 file in a ``.keras`` archive.

    Args:
        file: the open HDF5 file.
        config: the configuration of the model in the archive, in JSON.

    Raises:
        SourceError: the two do not fit together, or torch has no counterpart of a layer.

    """
    layers = find_numbered_layers(file, parse_model_config(config))
    return [tensor for layer in layers for tensor in convert_layer(layer)]
