"""Restore model weights that hatch-vggq packed into a wheel."""

from ._manifest import Manifest, TensorInfo
from ._weights import Weights, load, open  # noqa: A004
from .errors import VggqError

__all__ = [
    "Manifest",
    "TensorInfo",
    "VggqError",
    "Weights",
    "load",
    "open",
]
