"""Bands of the ``grid`` codec: headers, streams, low bits and escapes, decoded to levels."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ._bits import unpack
from ._escapes import Escapes
from ._streams import ESCAPE, Kind, Plain, kind_from_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ._scratch import Scratch
    from ._streams import Bytes

BAND_HEADER: Final = np.dtype([("kind", "<u8"), ("length", "<u8"), ("escapes", "<u8")])
ESCAPED_LEVEL: Final = np.dtype("<i4")


class StoredBands(NamedTuple):
    """Neighboring bands of the same kind in their stored form; a band with runs is alone.

    Attributes:
        kind: the kind of the streams.
        streams: the bytes of the streams, of shape (bands, bytes).
        low: the low bits of the levels, of shape (bands, bytes); empty unless the kind has a shift.
        counts: the number of escapes of each band.
        escapes: the values of the escapes, band after band.

    """

    kind: Kind
    streams: Bytes
    low: Bytes
    counts: list[int]
    escapes: NDArray[np.int32]


def parse_bands(content: memoryview, bands: int, count: int) -> list[StoredBands]:
    """Split the content into its bands.

    Args:
        content: the bytes from the first band's header to the end.
        bands: the number of bands.
        count: the number of levels of each band.

    Raises:
        ValueError: the kind of a band is unknown, or bytes are missing or left over.

    """
    headers = np.frombuffer(content, BAND_HEADER, bands)
    kinds = [kind_from_code(code) for code in headers["kind"].tolist()]
    lengths, counts = headers["length"].tolist(), headers["escapes"].tolist()
    lows = [-(-count * kind.shift // 8) for kind in kinds]
    size = headers.nbytes + sum([*lengths, *lows]) + ESCAPED_LEVEL.itemsize * sum(counts)
    if size != len(content):
        raise ValueError(f"the bands take {size} bytes, the content has {len(content)}")
    for kind, length in zip(kinds, lengths, strict=True):
        if isinstance(kind, Plain) and length != count:
            raise ValueError(f"a band of {count} levels has {length} bytes")
    groups = list(_find_groups(kinds))
    data = np.frombuffer(content, np.uint8, offset=headers.nbytes)
    streams, data = _split(data, [sum(lengths[group]) for group in groups])
    low_bits, planes = _split(data, [sum(lows[group]) for group in groups])
    values = planes.reshape(ESCAPED_LEVEL.itemsize, -1).T.copy().view(ESCAPED_LEVEL).reshape(-1)
    escapes, _ = _split(values, [sum(counts[group]) for group in groups])
    return [
        StoredBands(
            kinds[group.start],
            stream.reshape(group.stop - group.start, -1),
            low.reshape(group.stop - group.start, -1),
            counts[group],
            found,
        )
        for group, stream, low, found in zip(groups, streams, low_bits, escapes, strict=True)
    ]


def _find_groups(kinds: list[Kind]) -> Iterator[slice]:
    """Yield the bands that are decoded together: neighbors with plain streams of one kind."""
    begin = 0
    for end in range(1, len(kinds) + 1):
        kind = kinds[begin]
        if end == len(kinds) or kinds[end] != kind or not isinstance(kind, Plain):
            yield slice(begin, end)
            begin = end


def _split(array: NDArray[Any], sizes: list[int]) -> tuple[list[NDArray[Any]], NDArray[Any]]:
    """Return consecutive parts of an array, and the rest; faster than np.split."""
    ends = list(accumulate(sizes))
    parts = [array[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    return parts, array[ends[-1] :]


class BandsDecoder:
    """The levels of bands, decoded in chunks.

    Args:
        bands: the bands.
        count: the number of levels of each band.
        scratch: memory to search for escapes.

    Raises:
        ValueError: a band is damaged.

    Attributes:
        largest: an upper bound of the absolute values of the levels of each band.

    """

    def __init__(self, bands: StoredBands, count: int, scratch: Scratch) -> None:
        self._upper = bands.kind.expand(bands.streams, count)
        self._shift = bands.kind.shift
        self._low = bands.low
        lowest = self._upper.min(axis=1, initial=0)
        highest = self._upper.max(axis=1, initial=0)
        has_escapes = bands.escapes.size or lowest.min() == ESCAPE
        self._escapes = (
            Escapes(self._upper, bands.counts, bands.escapes, scratch) if has_escapes else None
        )
        escaped = self._escapes.largest if self._escapes else [0] * len(self._upper)
        self.largest = [
            max(-low << self._shift, high + 1 << self._shift, level)
            for low, high, level in zip(lowest.tolist(), highest.tolist(), escaped, strict=True)
        ]

    def __len__(self) -> int:
        """Return the number of bands."""
        return len(self._upper)

    @property
    def size(self) -> int:
        """Bytes of all levels without escapes."""
        return self._upper.size + self._low.size

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
        upper, low = memory[: self._upper.size], memory[self._upper.size :]
        self._upper = _take_rows(self._upper.view(np.uint8), indices, upper).view(np.int8)
        if low.size:
            self._low = _take_rows(self._low, indices, low)
        if self._escapes:
            self._escapes.reorder(order, self._upper.shape[1] // order.size)

    def decode_into(self, out: NDArray[Any], begin: int, scratch: Scratch) -> None:
        """Write the levels from index `begin` on to `out`.

        Args:
            out: an array of integers, of shape (bands, levels).
            begin: a multiple of 8, so that the low bits begin at a whole byte.
            scratch: memory for low bits.

        """
        end = begin + out.shape[1]
        # A product, because numpy vectorizes it and not the shift.
        # With the dtype, because numpy 1 would multiply bytes by a small factor as bytes.
        factor = out.dtype.type(1 << self._shift)
        np.multiply(self._upper[:, begin:end], factor, out=out, dtype=out.dtype)
        if self._shift:
            low = self._low[:, begin * self._shift // 8 : -(-end * self._shift // 8)]
            numbers = unpack(low, self._shift, scratch)[:, : out.shape[1]]
            # Numbers of the same type need no conversion in parts.
            out += numbers if self._shift == 8 else numbers.view(np.int8)
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
