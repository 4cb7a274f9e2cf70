"""The ``raw`` codec: the little-endian bytes of the source, unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import _dtypes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._buffers import Buffer


@dataclass(frozen=True, slots=True)
class Raw:
    """The ``raw`` codec for the elements of one dtype, which it restores exactly.

    Attributes:
        dtype: the safetensors name of the dtype.

    """

    NAME: ClassVar[str] = "raw"
    VALIDATES: ClassVar[bool] = False

    dtype: str

    @classmethod
    def from_parameters(cls, parameters: dict[str, Any], dtype: str) -> Raw:
        """Return the codec for a dtype, after checking that the manifest has no parameters for it.

        Raises:
            ValueError: there are parameters.

        """
        if parameters:
            raise ValueError("raw takes no parameters")
        return cls(dtype)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters as the manifest stores them: none."""
        return {}

    def content_size(self, count: int) -> int:
        """Return the bytes of `count` elements."""
        return count * _dtypes.STORAGE[self.dtype].itemsize

    def validate(self, content: Buffer, count: int) -> None:
        """Validate content of the right size.

        Raises:
            ValueError: a boolean is neither 0 nor 1.

        """
        if self.dtype == "BOOL" and count and np.frombuffer(content, np.uint8).max() > 1:
            raise ValueError("a boolean is neither 0 nor 1")

    def decode_into(self, content: Buffer, out: NDArray[Any]) -> None:
        """Convert validated content into `out`; every bit is kept if the dtype is the same."""
        values = np.frombuffer(content, _dtypes.STORAGE[self.dtype], out.size)
        _dtypes.convert_into(values, self.dtype, out)
