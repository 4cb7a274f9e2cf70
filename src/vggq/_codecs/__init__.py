"""What a packed tensor can be stored as: one module per codec, restoring half.

The storing halves are their namesakes in ``vggq.encode``.
"""

from __future__ import annotations

from typing import Any, Final

from .codebook import Codebook
from .grid import Grid
from .raw import Raw

__all__ = ["Codebook", "Codec", "Grid", "Raw", "from_table", "to_table"]

Codec = Raw | Codebook | Grid

_CODECS: Final[dict[str, type[Codec]]] = {codec.NAME: codec for codec in (Raw, Codebook, Grid)}


def from_table(table: object) -> Codec:
    """A codec from its table in the manifest.

    Raises:
        ValueError: the table names no known codec, or its parameters are not that codec's.

    """
    name = table.get("name") if isinstance(table, dict) else None
    if not isinstance(table, dict) or not isinstance(name, str) or name not in _CODECS:
        raise ValueError(f"expected one of {', '.join(_CODECS)}")
    parameters = table.copy()
    del parameters["name"]
    return _CODECS[name].from_parameters(parameters)


def to_table(codec: Codec) -> dict[str, Any]:
    """The inverse of `from_table`."""
    return {"name": codec.NAME, **codec.parameters()}
