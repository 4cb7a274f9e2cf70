"""The ``codebook`` codec: up to 256 float32 centroids, and one code per weight.

Content: the scales, if there are any (see `_scales`); the centroids, little-endian float32; then
the codes. A code takes 1, 2, 4 or 8 bits, the smallest width that can number the centroids. The
first code of a byte is in its lowest bits. Unused bits after the last code are written as zero and
ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from .._rounding import round_into
from ._look_up import LookUp, look_up
from ._scales import Scaler, Slices
from ._scratch import borrow_scratch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._buffers import Buffer

MAX_CENTROIDS: Final = 256
_CENTROID_DTYPE: Final = np.dtype("<f4")
# Widths of a code, indexed by the number of bits of the largest code.
_CODE_WIDTHS: Final = (1, 1, 2, 4, 4, 8, 8, 8, 8)


@dataclass(frozen=True, slots=True)
class Codebook:
    """The ``codebook`` codec with the parameters of one tensor.

    Attributes:
        centroids: the number of centroids, 1 to 256.
        slices: the slices of the tensor that have scales; None if there are no scales.
        width: bits of a code: 1, 2, 4 or 8.

    """

    NAME: ClassVar[str] = "codebook"
    VALIDATES: ClassVar[bool] = False

    centroids: int
    slices: Slices | None = None
    width: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", _CODE_WIDTHS[(self.centroids - 1).bit_length()])

    @classmethod
    def from_parameters(cls, parameters: dict[str, Any]) -> Codebook:
        """Return the codec with the parameters of the manifest.

        Raises:
            ValueError: the parameters are invalid.

        """
        others = dict(parameters)
        slices = Slices.take_from(others)
        centroids: Any = others.get("centroids")
        is_valid = len(others) == 1 and type(centroids) is int
        if not is_valid or not 1 <= centroids <= MAX_CENTROIDS:
            raise ValueError(f"expected centroids from 1 to {MAX_CENTROIDS}")
        return cls(centroids, slices)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters as the manifest stores them."""
        scales = self.slices.parameters() if self.slices else {}
        return {"centroids": self.centroids, **scales}

    def content_size(self, count: int) -> int:
        """Return the bytes of the scales, of the codebook and of `count` codes.

        Raises:
            ValueError: `count` weights cannot be split into the slices.

        """
        size = self.centroids * _CENTROID_DTYPE.itemsize - (-count * self.width // 8)
        if self.slices:
            self.slices.check_count(count)
            size += self.slices.size
        return size

    def split(self, content: Buffer) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return the codebook, of shape (centroids,), and the bytes of the codes.

        Both are views of the content on little-endian machines.
        """
        begin = self.slices.size if self.slices else 0
        codebook = np.frombuffer(content, _CENTROID_DTYPE, self.centroids, begin)
        codes = np.frombuffer(content, np.uint8, -1, begin + codebook.nbytes)
        return codebook.astype(np.float32, copy=False), codes

    def validate(self, content: Buffer, count: int) -> None:
        """Validate content of the right size.

        Raises:
            ValueError: a code exceeds the codebook, a scale is not a finite number of at least 0,
                or there are scales and a centroid is not from -1 to 1.

        """
        is_full = self.centroids == 1 << self.width
        if is_full and not self.slices:
            return
        codebook, codes = self.split(content)
        if self.slices:
            self.slices.validate(content)
            # False if there is a NaN.
            if not -1 <= codebook.min() <= codebook.max() <= 1:
                raise ValueError("a centroid of a tensor with scales is not from -1 to 1")
        if is_full or not count:
            return
        largest = _largest_code(codes, self.width)
        if largest >= self.centroids:
            raise ValueError(f"code {largest} exceeds the codebook of {self.centroids} centroids")

    def decode_into(self, content: Buffer, out: NDArray[Any]) -> None:
        """Write each weight, rounded to float32 and then to the dtype of `out`."""
        codebook, codes = self.split(content)
        if self.slices:
            scaler = Scaler(self.slices, self.slices.read(content))
            with borrow_scratch() as scratch:
                table = LookUp(codebook, codes, self.width, out.size, scratch)
                _decode_scaled(table, scaler, out)
        elif out.dtype != codebook.dtype:
            rounded = np.empty(codebook.shape, out.dtype)
            round_into(codebook, rounded)
            # numpy gathers integers, because it gathers the dtypes of ml_dtypes one by one.
            bits = np.dtype(f"u{out.itemsize}")
            look_up(rounded.view(bits), codes, self.width, out.view(bits))
        else:
            look_up(codebook, codes, self.width, out)


def _decode_scaled(table: LookUp, scaler: Scaler, out: NDArray[Any]) -> None:
    """Write the product of each centroid and its scale, rounded to the dtype of `out`."""
    is_float32 = out.dtype == np.float32
    buffer = np.empty(0 if is_float32 else scaler.chunk, np.float32)
    for begin in range(0, out.size, scaler.chunk):
        part = out[begin : begin + scaler.chunk]
        weights = part if is_float32 else buffer[: part.size]
        table.write(weights, begin)
        scaler.multiply(weights, begin)
        if not is_float32:
            round_into(weights, part)


def _largest_code(codes: NDArray[np.uint8], width: int) -> int:
    if width == 8:
        return int(codes.max(initial=0))
    mask = (1 << width) - 1
    return max(int(((codes >> shift) & mask).max(initial=0)) for shift in range(0, 8, width))
