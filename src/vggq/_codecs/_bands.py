"""Bands of the ``grid`` codec, decoded to levels."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._bits import unpack
from ._escapes import Escapes
from ._stored_bands import low_size, split
from ._streams import ESCAPE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ._scratch import Scratch
    from ._stored_bands import StoredBands
    from ._streams import Bytes


class LowBits(NamedTuple):
    """The low bits of neighboring bands that have equally many of them.

    Attributes:
        bands: the indices of the bands.
        shift: the number of low bits of a level: 1, 2, 4 or 8.
        packed: the bits, of shape (bands, bytes).

    """

    bands: slice
    shift: int
    packed: Bytes

    def add_to(self, levels: NDArray[Any], begin: int, scratch: Scratch) -> None:
        """Add the low bits to the levels of all bands from index `begin` on, a multiple of 8."""
        count = levels.shape[1]
        part = slice(begin * self.shift // 8, -(-(begin + count) * self.shift // 8))
        levels[self.bands] += unpack(self.packed[:, part], self.shift, scratch)[:, :count]


def _split_low(low: Bytes, shifts: list[int], count: int) -> Iterator[LowBits]:
    """Yield the low bits of the bands that have some, neighbors with equally many together."""
    first = 0
    for shift, group in groupby(shifts):
        bands = slice(first, first + len(list(group)))
        first = bands.stop
        if shift:
            size = (bands.stop - bands.start) * low_size(shift, count)
            yield LowBits(bands, shift, low[:size].reshape(bands.stop - bands.start, -1))
            low = low[size:]


class BandsDecoder:
    """The levels of bands, decoded in chunks.

    Args:
        stored: the bands.
        count: the number of levels of each band.
        scratch: memory to search for escapes.

    Raises:
        ValueError: a band is damaged.

    Attributes:
        largest: an upper bound of the absolute values of the levels of each band.

    """

    def __init__(self, stored: StoredBands, count: int, scratch: Scratch) -> None:
        self._upper = stored.expand(count)
        shifts = [kind.shift for kind in stored.kinds]
        self._factors = np.array([[1 << shift] for shift in shifts])
        self._low = list(_split_low(stored.low, shifts, count))
        if all(stored.counts):
            # Each band has an escape, whose byte is the lowest of all.
            lowest = highest = [ESCAPE] * len(shifts)
        else:
            lowest = self._upper.min(axis=1, initial=0).tolist()
            highest = self._upper.max(axis=1, initial=0).tolist()
        has_escapes = stored.escapes.size or ESCAPE in lowest
        self._escapes = (
            Escapes(self._upper, stored.counts, stored.escapes, scratch) if has_escapes else None
        )
        escaped = self._escapes.largest if self._escapes else [0] * len(shifts)
        self.largest = [
            max(-low << shift, high + 1 << shift, level)
            for shift, low, high, level in zip(shifts, lowest, highest, escaped, strict=True)
        ]

    def __len__(self) -> int:
        """Return the number of bands."""
        return len(self._upper)

    @property
    def size(self) -> int:
        """Bytes of all levels without escapes."""
        return self._upper.size + sum(low.packed.size for low in self._low)

    @property
    def escapes_size(self) -> int:
        """Bytes of the indices of the escapes."""
        return self._escapes.size if self._escapes else 0

    def reorder(
        self, order: NDArray[np.uint16], indices: NDArray[np.intp], memory: NDArray[np.uint8]
    ) -> None:
        """Put rows of levels in another order.

        Args:
            order: the new index of each row; a row is a multiple of 8 levels.
            indices: the old index of each row, the inverse of `order`.
            memory: `size` bytes for the rows, which are used from now on.

        """
        stored = [self._upper.view(np.uint8), *(low.packed for low in self._low)]
        places, _ = split(memory, [part.size for part in stored])
        upper, *low = [
            _take_rows(part, indices, place) for part, place in zip(stored, places, strict=True)
        ]
        self._upper = upper.view(np.int8)
        self._low = [
            bits._replace(packed=packed) for bits, packed in zip(self._low, low, strict=True)
        ]
        if self._escapes:
            self._escapes.reorder(order, self._upper.shape[1] // order.size)

    def decode_into(self, out: NDArray[Any], begin: int, scratch: Scratch) -> None:
        """Write the levels from index `begin` on to `out`.

        Args:
            out: an array of integers, of shape (bands, levels).
            begin: a multiple of 8, so that the low bits begin at a whole byte.
            scratch: memory for low bits.

        """
        # A product, because numpy vectorizes it and not the shift.
        # With the dtype, because numpy 1 would multiply bytes by a small factor as bytes.
        upper = self._upper[:, begin : begin + out.shape[1]]
        np.multiply(upper, self._factors.astype(out.dtype), out=out, dtype=out.dtype)
        for low in self._low:
            low.add_to(out, begin, scratch)
        if self._escapes:
            self._escapes.write(out, begin)


def _take_rows(
    stored: NDArray[np.uint8], indices: NDArray[np.intp], memory: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Copy rows of bands, of shape (bands, bytes), to memory in the order of their indices."""
    rows = stored.reshape(len(stored), indices.size, -1)
    # The indices are valid; without the mode, numpy would copy the result once more.
    rows.take(indices, axis=1, out=memory.reshape(rows.shape), mode="clip")
    return memory.reshape(stored.shape)
