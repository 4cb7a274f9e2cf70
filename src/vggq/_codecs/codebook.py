"""The ``codebook`` codec: up to 256 float32 centroids, and one code per weight.

Content: the centroids, little-endian float32, then the codes. A code takes 1, 2, 4 or 8 bits, the
smallest width that can number the centroids. The first code of a byte is in its lowest bits. Unused
bits after the last code are written as zero and ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from .._rounding import round_into
from ._bits import unpacking_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._buffers import Buffer

MAX_CENTROIDS: Final = 256
_CENTROID_DTYPE: Final = np.dtype("<f4")
# Widths of a code, indexed by the number of bits of the largest code.
_CODE_WIDTHS: Final = (1, 1, 2, 4, 4, 8, 8, 8, 8)
# Rows to gather at a time. numpy.take widens the indices to eight bytes; these stay in the cache.
_CHUNK: Final = 1 << 15
# Below this number of weights, making the table of pairs takes longer than it saves.
_MIN_PAIR_LOOKUP: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Codebook:
    """The ``codebook`` codec with the parameters of one tensor.

    Attributes:
        centroids: the number of centroids, 1 to 256.

    """

    NAME: ClassVar[str] = "codebook"

    centroids: int

    @classmethod
    def from_parameters(cls, parameters: dict[str, Any]) -> Codebook:
        """Return the codec with the parameters of the manifest.

        Raises:
            ValueError: the parameters are invalid.

        """
        centroids: Any = parameters.get("centroids")
        is_valid = len(parameters) == 1 and type(centroids) is int
        if not is_valid or not 1 <= centroids <= MAX_CENTROIDS:
            raise ValueError(f"expected centroids from 1 to {MAX_CENTROIDS}")
        return cls(centroids)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters as the manifest stores them."""
        return {"centroids": self.centroids}

    @property
    def width(self) -> int:
        """Bits of a code: 1, 2, 4 or 8."""
        return _CODE_WIDTHS[(self.centroids - 1).bit_length()]

    def content_size(self, count: int) -> int:
        """Return the bytes of the codebook and of `count` codes."""
        return self.centroids * _CENTROID_DTYPE.itemsize + -(-count * self.width // 8)

    def split(self, content: Buffer) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return the codebook, of shape (centroids,), and the bytes of the codes.

        Both are views of the content on little-endian machines.
        """
        codebook = np.frombuffer(content, _CENTROID_DTYPE, self.centroids)
        codes = np.frombuffer(content, np.uint8, offset=codebook.nbytes)
        return codebook.astype(np.float32, copy=False), codes

    def validate(self, content: Buffer, count: int) -> None:
        """Validate content of the right size.

        Raises:
            ValueError: a code exceeds the codebook.

        """
        if not count or self.centroids == 1 << self.width:
            return
        largest = _largest_code(self.split(content)[1], self.width)
        if largest >= self.centroids:
            raise ValueError(f"code {largest} exceeds the codebook of {self.centroids} centroids")

    def decode_into(self, content: Buffer, out: NDArray[Any]) -> None:
        """Write the centroid of each code, rounded to the dtype of `out`."""
        codebook, codes = self.split(content)
        if out.dtype != codebook.dtype:
            rounded = np.empty(codebook.shape, out.dtype)
            round_into(codebook, rounded)
            # numpy gathers integers, because it gathers the dtypes of ml_dtypes one by one.
            bits = np.dtype(f"u{out.itemsize}")
            look_up(rounded.view(bits), codes, self.width, out.view(bits))
        else:
            look_up(codebook, codes, self.width, out)


def look_up(
    codebook: NDArray[Any], codes: NDArray[np.uint8], width: int, out: NDArray[Any]
) -> None:
    """Write the centroid of each code to `out`.

    Args:
        codebook: the centroids, of a dtype of numpy's own.
        codes: the bytes of the codes.
        width: bits of a code: 1, 2, 4 or 8.
        out: a contiguous array of the codebook's dtype, with one element for each code.

    """
    if width == 8 and out.size >= _MIN_PAIR_LOOKUP:
        even = out.size // 2 * 2
        _gather(_pair_table(codebook), codes[:even].view("<u2"), out[:even])
        _gather(codebook[:, None], codes[even:], out[even:])
    elif width == 8:
        codebook.take(codes, out=out, mode="clip")
    else:
        _gather(centroid_table(codebook, width), codes, out)


def _largest_code(codes: NDArray[np.uint8], width: int) -> int:
    if width == 8:
        return int(codes.max(initial=0))
    mask = (1 << width) - 1
    return max(int(((codes >> shift) & mask).max(initial=0)) for shift in range(0, 8, width))


def centroid_table(codebook: NDArray[Any], width: int) -> NDArray[Any]:
    """Return the weights that each byte of codes stands for, of shape (256, 8 / width)."""
    return codebook.take(unpacking_table(width), mode="clip")


def _pair_table(codebook: NDArray[Any]) -> NDArray[Any]:
    """Return the two weights that each pair of bytes stands for, of shape (65536, 2)."""
    padded = codebook.take(np.arange(256), mode="clip")
    table = np.empty((256, 256, 2), codebook.dtype)
    table[:, :, 0] = padded
    table[:, :, 1] = padded[:, None]
    return table.reshape(-1, 2)


def _gather(rows: NDArray[Any], index: NDArray[np.unsignedinteger[Any]], out: NDArray[Any]) -> None:
    """Write rows[index] to the flat array `out`, which may end within the last row."""
    length = rows.shape[1]
    whole = out.size // length
    body = out[: whole * length].reshape(whole, length)
    for start in range(0, whole, _CHUNK):
        chunk = slice(start, min(start + _CHUNK, whole))
        # Every index is valid: "clip" changes none, and "raise" would copy the output.
        rows.take(index[chunk], axis=0, out=body[chunk], mode="clip")
    if rest := out.size - whole * length:
        out[-rest:] = rows[index[whole]][:rest]
