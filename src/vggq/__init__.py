"""Restore model weights that hatch-vggq packed into a wheel."""

from ._load import load
from ._manifest import Manifest, TensorInfo
from ._model import as_file, read_bytes
from ._model_info import Member
from ._weights import Weights, open  # noqa: A004
from .errors import VggqError

__all__ = [
    "Manifest",
    "Member",
    "TensorInfo",
    "VggqError",
    "Weights",
    "as_file",
    "load",
    "open",
    "read_bytes",
]
