"""The look-up of codes in a codebook, several weights at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ._bits import unpacking_table
from ._scratch import borrow_scratch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ._scratch import Scratch

# Rows to gather at a time. numpy.take widens the indices to eight bytes; these stay in the cache.
# With fewer, threads wait for each other's turns in Python.
_CHUNK: Final = 1 << 16
# Below this number of weights, making the table of pairs takes longer than it saves.
_MIN_PAIR_LOOKUP: Final = 1 << 18


class LookUp:
    """The centroids of the codes of a tensor, in chunks.

    Each row of a table has the weights that one byte of codes stands for, or for many codes of
    8 bits those of two bytes.

    Args:
        codebook: the centroids, of a dtype of numpy's own.
        codes: the bytes of the codes.
        width: bits of a code: 1, 2, 4 or 8.
        count: the number of codes.
        scratch: memory for the table, which must not be taken for another meanwhile.

    """

    def __init__(
        self,
        codebook: NDArray[Any],
        codes: NDArray[np.uint8],
        width: int,
        count: int,
        scratch: Scratch,
    ) -> None:
        self._codes = codes
        self._per_byte = 8 // width
        self._bytes = centroid_table(codebook, width)
        self._rows, self._index = self._bytes, codes
        if width == 8 and count >= _MIN_PAIR_LOOKUP:
            self._rows = _pair_table(self._bytes, scratch)
            self._index = codes[: count // 2 * 2].view("<u2")

    def write(self, out: NDArray[Any], begin: int = 0) -> None:
        """Write the centroids of some codes.

        Args:
            out: a contiguous array of the codebook's dtype, with one element for each code.
            begin: the index of the first code, a multiple of 8. Only the last codes of the
                tensor may end within a row.

        """
        length = self._rows.shape[1]
        whole = out.size // length
        body = out[: whole * length].reshape(whole, length)
        index = self._index[begin // length :]
        for start in range(0, whole, _CHUNK):
            chunk = slice(start, min(start + _CHUNK, whole))
            # Every index is valid: "clip" changes none, and "raise" would copy the output.
            self._rows.take(index[chunk], axis=0, out=body[chunk], mode="clip")
        if rest := out.size - whole * length:
            last = self._codes[(begin + whole * length) // self._per_byte]
            out[-rest:] = self._bytes[last, :rest]


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
    if width == 8 and out.size < _MIN_PAIR_LOOKUP:
        # Every index is valid: no mode changes one. For single weights "wrap" is the fastest.
        codebook.take(codes, out=out, mode="wrap")
    else:
        with borrow_scratch() as scratch:
            LookUp(codebook, codes, width, out.size, scratch).write(out)


def centroid_table(codebook: NDArray[Any], width: int) -> NDArray[Any]:
    """Return the weights that each byte of codes stands for, of shape (256, 8 / width)."""
    return codebook.take(unpacking_table(width), mode="clip")


def _pair_table(table: NDArray[Any], scratch: Scratch) -> NDArray[Any]:
    """Return the two weights that each pair of bytes stands for, of shape (65536, 2).

    Args:
        table: the weight of each byte, of shape (256, 1).
        scratch: memory for the result. The look-ups are spread over all of it, and take longer in
            pages of 4 KiB than in a huge page.

    """
    pairs = scratch.take("pairs", (256, 256, 2), table.dtype, huge=True)
    pairs[:, :, 0] = table[:, 0]
    pairs[:, :, 1] = table
    return pairs.reshape(-1, 2)
