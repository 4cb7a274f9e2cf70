"""Restore model weights that hatch-vggq packed into a wheel."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from ._load import load
from ._manifest import Manifest, TensorInfo
from ._model import as_file, read_bytes
from ._weights import Weights, open  # noqa: A004
from .errors import VggqError

if _TYPE_CHECKING:
    from ._model_info import Member

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


def __getattr__(name: str) -> object:
    # Packages that load tensors do not wait for what only whole models need.
    if name == "Member":
        from ._model_info import Member  # noqa: PLC0415

        return Member
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
