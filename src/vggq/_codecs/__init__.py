"""Decoders of the codecs, one module for each codec.

The encoders are in the modules of the same names in ``vggq.packing.codecs``.
"""

from __future__ import annotations

from typing import Any, Final

from ._protocol import Codec
from .codebook import Codebook
from .grid import Grid
from .raw import Raw

__all__ = ["Codebook", "Codec", "Grid", "Raw", "codec_from_table", "codec_to_table"]

_LOSSY: Final[dict[str, type[Codebook | Grid]]] = {codec.NAME: codec for codec in (Codebook, Grid)}
_CODEC_NAMES: Final = (Raw.NAME, *_LOSSY)


def codec_from_table(table: object, source_dtype: str) -> Codec:
    """Return a codec from its table in the manifest.

    Args:
        table: the codec's name and its parameters.
        source_dtype: the safetensors name of the tensor's dtype, which raw content keeps.

    Raises:
        ValueError: the codec is unknown, or its parameters are invalid.

    """
    name = table.get("name") if isinstance(table, dict) else None
    if not isinstance(table, dict) or name not in _CODEC_NAMES:
        raise ValueError(f"expected one of {', '.join(_CODEC_NAMES)}")
    parameters = {key: value for key, value in table.items() if key != "name"}
    if name == Raw.NAME:
        return Raw.from_parameters(parameters, source_dtype)
    return _LOSSY[name].from_parameters(parameters)


def codec_to_table(codec: Codec) -> dict[str, Any]:
    """Return the codec's table in the manifest, the inverse of `codec_from_table`."""
    return {"name": codec.NAME, **codec.parameters()}
