"""Bands of the ``grid`` codec: headers, streams, low bits and escapes, decoded to levels."""

from __future__ import annotations

from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ._bits import unpack
from ._escapes import Escapes
from ._streams import ESCAPE, Kind, Plain, kind_from_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ._scratch import Scratch
    from ._streams import Bytes, SignedBytes

BAND_HEADER: Final = np.dtype([("kind", "<u8"), ("length", "<u8"), ("escapes", "<u8")])
ESCAPED_LEVEL: Final = np.dtype("<i4")


class StoredBands(NamedTuple):
    """The bands of a tensor in their stored form.

    Attributes:
        kinds: the kind of the stream of each band.
        lengths: bytes of each stream.
        streams: the bytes of the streams, band after band.
        low: the low bits of the levels, band after band.
        counts: the number of escapes of each band.
        escapes: the values of the escapes, band after band.

    """

    kinds: list[Kind]
    lengths: list[int]
    streams: Bytes
    low: Bytes
    counts: list[int]
    escapes: NDArray[np.int32]

    @property
    def are_plain(self) -> bool:
        """Whether all streams are plain: the bytes of all levels, without an expansion."""
        return all(isinstance(kind, Plain) for kind in self.kinds)

    def expand_into(self, out: SignedBytes) -> SignedBytes:
        """Write the upper bits of each level, and ESCAPE for escapes, and return them.

        Args:
            out: an array of shape (bands, levels).

        Raises:
            ValueError: a stream has an undefined symbol, or not the right number of levels.

        """
        ends = accumulate(self.lengths)
        for kind, length, end, band in zip(self.kinds, self.lengths, ends, out, strict=True):
            kind.expand_into(self.streams[end - length : end], band)
        return out


def parse_bands(content: memoryview, bands: int, count: int) -> StoredBands:
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
    low_begin = headers.nbytes + sum(lengths)
    values_begin = low_begin + sum(low_size(kind.shift, count) for kind in kinds)
    size = values_begin + ESCAPED_LEVEL.itemsize * sum(counts)
    if size != len(content):
        raise ValueError(f"the bands take {size} bytes, the content has {len(content)}")
    for kind, length in zip(kinds, lengths, strict=True):
        if isinstance(kind, Plain) and length != count:
            raise ValueError(f"a band of {count} levels has {length} bytes")
    data = np.frombuffer(content, np.uint8)
    planes = data[values_begin:].reshape(ESCAPED_LEVEL.itemsize, -1)
    values = planes.T.copy().view(ESCAPED_LEVEL).reshape(-1)
    streams, low = data[headers.nbytes : low_begin], data[low_begin:values_begin]
    return StoredBands(kinds, lengths, streams, low, counts, values)


def low_size(shift: int, count: int) -> int:
    """Return the bytes of the low bits of a band of `count` levels, `shift` bits for each."""
    return -(-count * shift // 8)


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
        numbers = unpack(self.packed[:, part], self.shift, scratch)[:, :count]
        # Signed numbers need no conversion in parts.
        levels[self.bands] += numbers if self.shift == 8 else numbers.view(np.int8)


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
    """The levels of all bands of a tensor, decoded in chunks.

    Args:
        stored: the bands.
        count: the number of levels of each band.
        scratch: memory for the levels of runs, which is in use as long as the decoder, and to
            search for escapes.

    Raises:
        ValueError: a band is damaged.

    Attributes:
        largest: an upper bound of the absolute values of the levels of each band.
        size: bytes of all levels, and of the indices of the escapes.

    """

    def __init__(self, stored: StoredBands, count: int, scratch: Scratch) -> None:
        shape = len(stored.kinds), count
        if stored.are_plain:
            self._upper = stored.streams.view(np.int8).reshape(shape)
        else:
            self._upper = stored.expand_into(scratch.take("expanded", shape, np.dtype(np.int8)))
        shifts = [kind.shift for kind in stored.kinds]
        self._factors = np.array([[1 << shift] for shift in shifts])
        self._low = list(_split_low(stored.low, shifts, count))
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
        escapes_size = self._escapes.size if self._escapes else 0
        self.size = self._upper.size + stored.low.size + escapes_size

    def reorder(self, order: NDArray[np.uint16], scratch: Scratch) -> None:
        """Put rows of levels in another order, in scratch memory that is used from now on.

        Args:
            order: the new index of each row; a row is a multiple of 8 levels.
            scratch: memory for the rows.

        """
        stored = [self._upper.view(np.uint8), *(low.packed for low in self._low)]
        memory = scratch.take("rows", (sum(part.size for part in stored),), np.dtype(np.uint8))
        # The old index of each row.
        indices = np.argsort(order)
        ends = accumulate(part.size for part in stored)
        upper, *low = [
            _take_rows(part, indices, memory[end - part.size : end])
            for part, end in zip(stored, ends, strict=True)
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
