"""Restore model weights that hatch-vggq packed into a wheel."""

from ._load import load
from ._manifest import Manifest, TensorInfo
from ._weights import Weights, open  # noqa: A004
from .errors import VggqError

__all__ = [
    "Manifest",
    "TensorInfo",
    "VggqError",
    "Weights",
    "load",
    "open",
]
