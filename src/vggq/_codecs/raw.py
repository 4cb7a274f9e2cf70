"""The ``raw`` codec: the little-endian bytes as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import _dtypes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._scratch import Buffer


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

    def check(self, content: Buffer, count: int, dtype: str) -> None:  # noqa: ARG002
        """Prove a content of the right size.

        Raises:
            ValueError: a boolean is stored as neither 0 nor 1.

        """
        if dtype == "BOOL" and content and np.frombuffer(content, np.uint8).max() > 1:
            raise ValueError("a boolean is neither 0 nor 1")

    def write(self, content: Buffer, dtype: str, out: NDArray[Any]) -> None:
        """Restore a proved content into `out`, contiguous, of one dimension.

        Its dtype is the restored one, or for floating point any: the source's own keeps every bit.
        """
        values = np.frombuffer(content, _dtypes.STORAGE[dtype], out.size)
        _dtypes.convert(values, dtype, out)

    def decode(self, content: Buffer, count: int, dtype: str) -> NDArray[Any]:
        """A fresh array of shape (count,) in the restored dtype.

        Raises:
            ValueError: a boolean is stored as neither 0 nor 1.

        """
        self.check(content, count, dtype)
        values = np.empty(count, _dtypes.restored(dtype))
        self.write(content, dtype, values)
        return values
