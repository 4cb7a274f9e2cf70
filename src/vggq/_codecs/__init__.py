"""Decoders of the codecs, one module for each codec.

The encoders are in the modules of the same names in ``vggq.packing.codecs``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ._protocol import Codec
from .codebook import Codebook
from .raw import Raw

if TYPE_CHECKING:
    from .grid import Grid

__all__ = ["Codebook", "Codec", "Grid", "Raw", "codec_from_table", "codec_to_table"]


def __getattr__(name: str) -> Any:
    if name != "Grid":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .grid import Grid  # noqa: PLC0415 - takes longer to import than the other codecs

    return Grid


def codec_from_table(table: object, source_dtype: str) -> Codec:
    """Return a codec from its table in the manifest.

    Args:
        table: the codec's name and its parameters.
        source_dtype: the safetensors name of the tensor's dtype, which raw content keeps.

    Raises:
        ValueError: the codec is unknown, or its parameters are invalid.

    """
    fields = table if isinstance(table, dict) else {}
    try:
        return _build_codec(source_dtype, **fields)
    except TypeError:
        # A list or an object, which is no valid parameter, cannot be looked up in the cache.
        build = _build_codec.__wrapped__
    return build(source_dtype, **fields)


# Many tensors have the same parameters. Types are compared as well, because 1 == True == 1.0.
@lru_cache(typed=True)
def _build_codec(source_dtype: str, /, name: object = None, **parameters: Any) -> Codec:
    match name:
        case "raw":
            return Raw.from_parameters(parameters, source_dtype)
        case "codebook":
            return Codebook.from_parameters(parameters)
        case "grid":
            from .grid import Grid  # noqa: PLC0415 - see __getattr__

            return Grid.from_parameters(parameters)
    raise ValueError("expected one of raw, codebook, grid")


def codec_to_table(codec: Codec) -> dict[str, Any]:
    """Return the codec's table in the manifest, the inverse of `codec_from_table`."""
    return {"name": codec.NAME, **codec.parameters()}
