"""Bands of the ``grid`` codec: headers, streams, low bits and escapes, decoded to levels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ._bits import unpack
from ._streams import ESCAPE, Kind, kind_from_code

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._streams import Bytes

BAND_HEADER: Final = np.dtype([("kind", "<u8"), ("length", "<u8"), ("escapes", "<u8")])
ESCAPED_LEVEL: Final = np.dtype("<i4")

MAX_LEVEL: Final = 1 << 23
"""Largest absolute value of a level; up to it, the sums of products with a basis are exact."""


@dataclass(frozen=True, slots=True)
class StoredBand:
    """The parts of a band in their stored form.

    Attributes:
        kind: the kind of the stream.
        stream: the bytes of the stream.
        low: the low bits of the levels; empty unless the kind has a shift.
        escapes: the values of the escapes.

    """

    kind: Kind
    stream: Bytes
    low: Bytes
    escapes: NDArray[np.int32]


def parse_bands(content: memoryview, bands: int, count: int) -> list[StoredBand]:
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
    escapes = headers["escapes"].tolist()
    lows = [-(-count * kind.shift // 8) for kind in kinds]
    sizes = [*headers["length"].tolist(), *lows, ESCAPED_LEVEL.itemsize * sum(escapes)]
    size = headers.nbytes + sum(sizes)
    if size != len(content):
        raise ValueError(f"the bands take {size} bytes, the content has {len(content)}")
    *parts, planes = _split(np.frombuffer(content, np.uint8, offset=headers.nbytes), sizes)
    values = planes.reshape(ESCAPED_LEVEL.itemsize, -1).T.copy().view(ESCAPED_LEVEL).reshape(-1)
    streams, low_bits = parts[:bands], parts[bands:]
    return list(map(StoredBand, kinds, streams, low_bits, _split(values, escapes)))


def _split(array: NDArray[Any], sizes: list[int]) -> list[NDArray[Any]]:
    """Return consecutive parts of an array; faster than np.split."""
    ends = list(accumulate(sizes))
    return [array[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def validate_band(band: StoredBand, count: int) -> None:
    """Validate a band of `count` levels.

    Raises:
        ValueError: the band is damaged.

    """
    escapes = band.kind.count_escapes(band.stream, count)
    if escapes != band.escapes.size:
        raise ValueError(f"a band has {escapes} escapes, but {band.escapes.size} values for them")
    largest = _largest_magnitude(band.escapes)
    if largest > MAX_LEVEL:
        raise ValueError(f"the level {largest} of an escape exceeds {MAX_LEVEL}")


class BandDecoder:
    """The levels of a validated band, decoded in chunks.

    Attributes:
        count: the number of levels.
        largest: an upper bound of the absolute values of the levels.

    """

    def __init__(self, band: StoredBand, count: int) -> None:
        self.count = count
        self._upper = band.kind.expand(band.stream, count)
        self._shift = band.kind.shift
        self._low = band.low
        self._escapes = band.escapes
        # Most bands have no escapes, and need no search for them.
        self._places = np.flatnonzero(self._upper == ESCAPE) if self._escapes.size else None
        self.largest = self._find_largest()

    def _find_largest(self) -> int:
        if not self._upper.size:
            return 0
        lowest, end = int(self._upper.min()), int(self._upper.max()) + 1
        escaped = _largest_magnitude(self._escapes)
        return max(-lowest << self._shift, end << self._shift, escaped)

    def decode_into(self, out: NDArray[Any], begin: int) -> None:
        """Write the levels from index `begin` on to `out`.

        Args:
            out: an array of integers, one for each level.
            begin: a multiple of 8, so that the low bits begin at a whole byte.

        """
        end = begin + out.size
        # A product, because numpy vectorizes it and not the shift.
        # With the dtype, because numpy 1 would multiply bytes by a small factor as bytes.
        factor = out.dtype.type(1 << self._shift)
        np.multiply(self._upper[begin:end], factor, out=out, dtype=out.dtype)
        if self._shift:
            low = self._low[begin * self._shift // 8 : -(-end * self._shift // 8)]
            numbers = unpack(low, self._shift)[: out.size]
            # Numbers of the same type need no conversion in parts.
            out += numbers if self._shift == 8 else numbers.view(np.int8)
        if self._places is not None:
            first, last = self._places.searchsorted(begin), self._places.searchsorted(end)
            out[self._places[first:last] - begin] = self._escapes[first:last]


def _largest_magnitude(values: NDArray[np.int32]) -> int:
    """Return the largest absolute value; unlike abs, this makes no copy."""
    return max(-int(values.min(initial=0)), int(values.max(initial=0)))
