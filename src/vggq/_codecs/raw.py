"""The ``raw`` codec: the little-endian bytes as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import _dtypes

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Raw:
    """Exact; of any dtype."""

    NAME: ClassVar[str] = "raw"

    @classmethod
    def from_parameters(cls, parameters: dict[str, Any]) -> Raw:
        if parameters:
            raise ValueError("raw has no parameters")
        return cls()

    def parameters(self) -> dict[str, Any]:
        return {}

    def content_size(self, count: int, dtype: str) -> int:
        """Bytes that `count` elements of the stored dtype take."""
        return count * _dtypes.STORAGE[dtype].itemsize

    def decode(self, content: bytes, count: int, dtype: str) -> NDArray[Any]:
        """A fresh array of shape (count,) in the restored dtype.

        Raises:
            ValueError: a boolean is stored as neither 0 nor 1.

        """
        if dtype == "BOOL" and count and np.frombuffer(content, np.uint8).max() > 1:
            raise ValueError("a boolean is neither 0 nor 1")
        return _dtypes.restore(np.frombuffer(content, _dtypes.STORAGE[dtype], count), dtype)
