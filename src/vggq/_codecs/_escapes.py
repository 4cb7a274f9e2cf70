"""Escapes of the ``grid`` codec: levels that the streams of bands have no bytes for."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from ._streams import ESCAPE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._scratch import Scratch
    from ._streams import SignedBytes

MAX_LEVEL: Final = 1 << 23
"""Largest absolute value of a level; up to it, the sums of products with a basis are exact."""

# Levels to search for escapes, or escapes to write, at a time.
_CHUNK: Final = 1 << 18
# Sorting more escapes by row would take too much memory.
_MAX_SORTED_BY_ROW: Final = 1 << 16


class Escapes:
    """The escapes of bands.

    Args:
        upper: the upper bits of each level, of shape (bands, levels).
        counts: the number of values of each band.
        values: the values of the escapes, band after band.
        scratch: memory to search for them.

    Raises:
        ValueError: there are fewer or more escapes than values, or a value is too large.

    Attributes:
        largest: the largest absolute value of each band.

    """

    def __init__(
        self,
        upper: SignedBytes,
        counts: list[int],
        values: NDArray[np.int32],
        scratch: Scratch,
    ) -> None:
        self.largest = _find_largest(values, counts)
        if (largest := max(self.largest)) > MAX_LEVEL:
            raise ValueError(f"the level {largest} of an escape exceeds {MAX_LEVEL}")
        # Ascending indices in all levels, band after band, and the index where each band begins.
        self._places = np.empty(values.size, np.intp)
        self._begins = np.arange(len(upper), dtype=np.intp) * upper.shape[1]
        self._values = values
        found = _find_escapes(upper.reshape(-1), self._places, scratch)
        found_ends = self._places[:found].searchsorted(self._begins + upper.shape[1])
        if found != values.size or found_ends.tolist() != list(accumulate(counts)):
            _reject_counts(upper, counts)

    @property
    def size(self) -> int:
        """Bytes of the indices."""
        return self._places.nbytes

    def reorder(self, order: NDArray[np.uint16], length: int) -> None:
        """Put rows of levels in another order.

        Args:
            order: the new index of each row.
            length: the number of levels of a row.

        """
        shifts = (order - np.arange(order.size)) * length
        self._places += shifts[self._places // length % order.size]
        ascending = self._sort(order.size, length)
        self._places = self._places[ascending]
        self._values = self._values[ascending]

    def _sort(self, rows: int, length: int) -> NDArray[np.intp]:
        """Return the indices that sort the places, which are in order within each row."""
        keys: NDArray[Any] = self._places
        if keys.size <= _MAX_SORTED_BY_ROW:
            # Row numbers of 16 bits are sorted in linear time. The order within rows is kept.
            keys = (keys // length).astype(np.min_scalar_type(self._begins.size * rows - 1))
        return np.argsort(keys, kind="stable")

    def write(self, out: NDArray[Any], begin: int) -> None:
        """Write the values of the escapes among levels from index `begin` on."""
        begins = self._begins + begin
        firsts = self._places.searchsorted(begins).tolist()
        lasts = self._places.searchsorted(begins + out.shape[1]).tolist()
        for levels, start, first, last in zip(out, begins, firsts, lasts, strict=True):
            for at in range(first, last, _CHUNK):
                part = slice(at, min(at + _CHUNK, last))
                levels[self._places[part] - start] = self._values[part]


def _find_largest(values: NDArray[np.int32], counts: list[int]) -> list[int]:
    """Return the largest absolute value of each band, 0 for a band without values."""
    largest = [0] * len(counts)
    ends = accumulate(counts)
    begins = {
        band: end - count
        for band, (end, count) in enumerate(zip(ends, counts, strict=True))
        if count
    }
    if begins:
        # Of int64, because the smallest value of int32 has no absolute value of its own.
        magnitudes = np.abs(values, dtype=np.int64)
        maxima = np.maximum.reduceat(magnitudes, list(begins.values())).tolist()
        for band, maximum in zip(begins, maxima, strict=True):
            largest[band] = maximum
    return largest


def _find_escapes(upper: SignedBytes, places: NDArray[np.intp], scratch: Scratch) -> int:
    """Write the indices of the escapes to `places`, as many as fit, and return their number."""
    end = 0
    for begin in range(0, upper.size, _CHUNK):
        end += _find_in_chunk(upper[begin : begin + _CHUNK], begin, places[end:], scratch)
    return end


def _find_in_chunk(
    upper: SignedBytes, begin: int, places: NDArray[np.intp], scratch: Scratch
) -> int:
    """Write the indices of a chunk's escapes to `places`, as many as fit, and return their number.

    Args:
        upper: the upper bits of the levels of the chunk.
        begin: the index of the first of them.
        places: memory for the indices; too small if the content is damaged.
        scratch: memory to search.

    """
    padded = -(-upper.size // 8) * 8
    is_escape = scratch.take("escapes", (padded,), np.dtype(np.bool_))
    np.equal(upper, ESCAPE, out=is_escape[: upper.size])
    is_escape[upper.size :] = False
    # Few words of eight levels have escapes; only these are searched for single levels.
    words = is_escape.view(np.uint64)
    (filled,) = np.nonzero(words != 0)
    (found,) = np.nonzero(words[filled].view(np.bool_))
    count = found.size
    found = found[: places.size]
    out = places[: found.size]
    # The indices are valid; without the mode, numpy would copy the result once more.
    filled.take(found >> 3, out=out, mode="clip")
    out <<= 3
    found &= 7
    out += found
    out += begin
    return count


def _reject_counts(upper: SignedBytes, counts: list[int]) -> NoReturn:
    """Raise ValueError for the first band whose number of escapes is not the one in `counts`."""
    found = [int(np.count_nonzero(band == ESCAPE)) for band in upper]
    escapes, values = next(pair for pair in zip(found, counts, strict=True) if pair[0] != pair[1])
    raise ValueError(f"a band has {escapes} escapes, but {values} values for them")
