"""Levels of the ``grid`` codec: decoded from all bands, as multiples of the step size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .._huge_pages import HUGE
from ._stored_bands import split
from ._trellis import LANE_SIZE, resolve_levels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ._bands import BandsDecoder
    from ._scratch import Scratch

    Chunks = Iterator[tuple[int, NDArray[Any]]]

# Multiples of the step size below this fit into int16.
_INT16_LEVELS: Final = 1 << 15
# Bytes of the levels to decode at a time: few calls of numpy, on memory that stays in the cache.
_CHUNK: Final = HUGE
# Bytes of a tensor's levels, and of the indices of its escapes, that are put in order before they
# are decoded: they stay in the cache, and few indices have to be sorted.
_MAX_REORDERED: Final = 1 << 22


class LevelDecoder:
    """Decodes all bands of a tensor to vectors of multiples of the step size.

    Args:
        bands: all bands, in groups.
        count: the number of vectors.
        states: the number of states of dependent levels; 1 if levels are independent.
        scratch: memory for the levels.

    Attributes:
        largest: an upper bound of the absolute values of the multiples of each band.

    """

    def __init__(
        self, bands: list[BandsDecoder], count: int, states: int, scratch: Scratch
    ) -> None:
        self._bands = bands
        self._count = count
        self._states = states
        self._scratch = scratch
        self.largest = [largest << (states > 1) for group in bands for largest in group.largest]
        is_short = max(self.largest) < _INT16_LEVELS
        self._dtype = np.dtype(np.int16 if is_short else np.int32)

    @property
    def _taps(self) -> int:
        return len(self.largest)

    def chunks(self, size: int) -> Chunks:
        """Yield vectors in stored order, or in the order of the tensor after `reorder`.

        Args:
            size: about the number of weights of a chunk.

        Yields:
            The index of the first vector, and an array of shape (taps, vectors), valid until the
            next chunk.

        """
        length = min(-(-size // self._taps // LANE_SIZE) * LANE_SIZE, self._count)
        most = _CHUNK // (self._taps * self._dtype.itemsize) // length * length or length
        for start in range(0, self._count, most):
            levels = self._decode(start, min(start + most, self._count))
            for begin in range(0, levels.shape[1], length):
                yield start + begin, levels[:, begin : begin + length]

    def can_reorder(self, rows: int) -> bool:
        """Return whether rows can be put in another order before they are decoded."""
        unit = LANE_SIZE if self._states > 1 else 8
        size = sum(group.size + group.escapes_size for group in self._bands)
        return self._count // rows % unit == 0 and size <= _MAX_REORDERED

    def reorder(self, order: NDArray[np.uint16]) -> None:
        """Put the rows of all bands in the order of the tensor.

        Args:
            order: the index of each stored row.

        """
        sizes = [group.size for group in self._bands]
        memory = self._scratch.take("rows", (sum(sizes),), np.dtype(np.uint8))
        indices = np.argsort(order)
        places, _ = split(memory, sizes)
        for group, place in zip(self._bands, places, strict=True):
            group.reorder(order, indices, place)

    def _decode(self, begin: int, end: int) -> NDArray[Any]:
        """Return the multiples of all bands between two indices, valid until the next call."""
        levels = self._scratch.take("levels", (self._taps, end - begin), self._dtype)
        first = 0
        for group in self._bands:
            group.decode_into(levels[first : first + len(group)], begin, self._scratch)
            first += len(group)
        if self._states > 1:
            resolve_levels(levels, self._states, self._scratch)
        return levels
