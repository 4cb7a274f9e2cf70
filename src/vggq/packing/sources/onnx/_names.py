"""Names of the tensors of an ONNX model: readable, and the same for the same file."""

from __future__ import annotations

from typing import Final

MAX_NAME_SIZE: Final = 4096
"""Bytes of a name in the file that are used."""

UNNAMED: Final = "unnamed"

# A path contains the names of all nodes around a tensor, so its length is limited.
_MAX_PART: Final = 200
_MAX_PREFIX: Final = 1000


def to_text(name: bytes) -> str:
    """Return a name as text, which may be invalid as UTF-8 in the file."""
    return name.decode("utf-8", "backslashreplace")


def extend_prefix(prefix: str, *parts: str) -> str:
    """Return the first part of the names of tensors in a subgraph.

    Args:
        prefix: that of the graph around the subgraph.
        parts: the names of what is between the two.

    """
    for part in parts:
        prefix = f"{prefix[:_MAX_PREFIX]}{part[:_MAX_PART]}/"
    return prefix
