"""The ``codebook`` codec: up to 256 float32 centroids, and one code per weight.

Content: the centroids, little-endian float32, then the codes. A code takes 1, 2, 4 or 8 bits,
the fewest that tell the centroids apart; the first code of a byte is in its lowest bits, and
the bits behind the last code are zero and ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from ._bits import numbers_of_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._buffers import Buffer

MAX_CENTROIDS: Final = 256
# By the bits that it takes to tell the centroids apart.
_WIDTHS: Final = (1, 1, 2, 4, 4, 8, 8, 8, 8)
_CENTROID = np.dtype("<f4")
# Indices are widened to eight bytes inside numpy.take: this many at a time stay in the cache.
_PIECE: Final = 1 << 15
# Below this many weights the table of pairs costs more than it saves.
_PAIRS_FROM: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Codebook:
    """A codebook of `centroids` entries, 1 to 256."""

    NAME: ClassVar[str] = "codebook"

    centroids: int

    @classmethod
    def from_parameters(cls, parameters: dict[str, Any]) -> Codebook:
        centroids: Any = parameters.get("centroids")
        known = len(parameters) == 1 and type(centroids) is int
        if not known or not 1 <= centroids <= MAX_CENTROIDS:
            raise ValueError(f"expected centroids from 1 to {MAX_CENTROIDS}")
        return cls(centroids)

    def parameters(self) -> dict[str, Any]:
        return {"centroids": self.centroids}

    @property
    def width(self) -> int:
        """Bits that a code takes: 1, 2, 4 or 8."""
        return _WIDTHS[(self.centroids - 1).bit_length()]

    def content_size(self, count: int) -> int:
        """Return the bytes of the codebook and of `count` codes."""
        return self.centroids * _CENTROID.itemsize + -(-count * self.width // 8)

    def split(self, content: Buffer) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """The codebook, of shape (centroids,), and the codes' bytes: views, on most machines."""
        codebook = np.frombuffer(content, _CENTROID, self.centroids).astype(np.float32, copy=False)
        return codebook, np.frombuffer(content, np.uint8, offset=codebook.nbytes)

    def validate(self, content: Buffer, count: int) -> None:
        """Validate content of the right size.

        Raises:
            ValueError: a code is beyond the codebook.

        """
        if not count or self.centroids == 1 << self.width:
            return
        if _largest(self.split(content)[1], self.width) >= self.centroids:
            raise ValueError(f"a code is beyond the codebook of {self.centroids}")

    def decode_into(self, content: Buffer, out: NDArray[Any]) -> None:
        """Write the centroid of each code, converted to the dtype of `out`."""
        codebook, codes = self.split(content)
        if out.dtype != codebook.dtype:
            with np.errstate(all="ignore"):
                codebook = codebook.astype(out.dtype)
            # As whole numbers, since numpy gathers those of foreign dtypes one by one.
            bits = np.dtype(f"u{out.itemsize}")
            codebook, out = codebook.view(bits), out.view(bits)
        look_up(codebook, codes, self.width, out)


def look_up(
    codebook: NDArray[Any], codes: NDArray[np.uint8], width: int, out: NDArray[Any]
) -> None:
    """Write codebook[codes] to `out`, contiguous and of the codebook's dtype, one numpy has."""
    if width == 8 and out.size >= _PAIRS_FROM:
        whole = out.size // 2 * 2
        _gather(_pairs(codebook), codes[:whole].view("<u2"), out[:whole])
        _gather(codebook[:, None], codes[whole:], out[whole:])
    elif width == 8:
        codebook.take(codes, out=out, mode="clip")
    else:
        _gather(centroids_of_bytes(codebook, width), codes, out)


def _largest(codes: NDArray[np.uint8], width: int) -> int:
    if width == 8:
        return int(codes.max(initial=0))
    mask = (1 << width) - 1
    return max(int(((codes >> shift) & mask).max(initial=0)) for shift in range(0, 8, width))


def centroids_of_bytes(codebook: NDArray[Any], width: int) -> NDArray[Any]:
    """The weights that each byte of codes stands for, of shape (256, 8 / width)."""
    return codebook.take(numbers_of_bytes(width), mode="clip")


def _pairs(codebook: NDArray[Any]) -> NDArray[Any]:
    """The two weights that each two bytes stand for, of shape (65536, 2)."""
    padded = codebook.take(np.arange(256), mode="clip")
    table = np.empty((256, 256, 2), codebook.dtype)
    table[:, :, 0] = padded
    table[:, :, 1] = padded[:, None]
    return table.reshape(-1, 2)


def _gather(rows: NDArray[Any], units: NDArray[np.unsignedinteger[Any]], out: NDArray[Any]) -> None:
    """Write rows[units] to `out` one behind the other; `out` may end inside the last row."""
    per_unit = rows.shape[1]
    whole = out.size // per_unit
    body = out[: whole * per_unit].reshape(whole, per_unit)
    for start in range(0, whole, _PIECE):
        piece = slice(start, min(start + _PIECE, whole))
        # "clip" changes no index here; "raise" would copy what it writes.
        rows.take(units[piece], axis=0, out=body[piece], mode="clip")
    if rest := out.size - whole * per_unit:
        out[-rest:] = rows[units[whole]][:rest]
