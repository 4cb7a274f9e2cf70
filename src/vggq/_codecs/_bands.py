"""The bands of the ``grid`` codec: headers, streams, low bits and escapes, to levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ._bits import numbers_of_bytes
from ._streams import ESCAPE, Kind, kind_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._streams import Bytes

HEADER: Final = np.dtype([("kind", "<u8"), ("length", "<u8"), ("escapes", "<u8")])
LEVEL: Final = np.dtype("<i4")
MAX_LEVEL: Final = 1 << 23
"""No level is of a larger absolute value: sums of its products with a basis are exact."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A band as it is stored: how it is read, its stream, its lowest bits, its escapes."""

    kind: Kind
    stream: Bytes
    low: Bytes
    escapes: NDArray[np.int32]


def parse(content: memoryview, bands: int, count: int) -> list[Stored]:
    """Take so many bands of so many levels apart.

    Raises:
        ValueError: a band is of no kind, or bytes are missing or left over.

    """
    heads = np.frombuffer(content, HEADER, bands)
    kinds = [kind_of(int(code)) for code in heads["kind"]]
    escapes = heads["escapes"].tolist()
    planes = [sum(escapes)] * LEVEL.itemsize
    lows = [-(-count * kind.shift // 8) for kind in kinds]
    sizes = [*heads["length"].tolist(), *lows, *planes]
    if heads.nbytes + sum(sizes) != len(content):
        raise ValueError(f"the bands take {heads.nbytes + sum(sizes)} of {len(content)} bytes")
    parts = np.split(np.frombuffer(content, np.uint8, offset=heads.nbytes), np.cumsum(sizes)[:-1])
    values = np.stack(parts[2 * bands :], axis=1).view(LEVEL).reshape(-1)
    own = np.split(values, np.cumsum(escapes)[:-1])
    return list(map(Stored, kinds, parts[:bands], parts[bands : 2 * bands], own))


def check(band: Stored, count: int) -> None:
    """Prove a band of so many levels.

    Raises:
        ValueError: it is damaged.

    """
    escapes = band.kind.count_escapes(band.stream, count)
    if escapes != band.escapes.size:
        raise ValueError(f"a band has {escapes} escapes, and values for {band.escapes.size}")
    largest = _largest(band.escapes)
    if largest > MAX_LEVEL:
        raise ValueError(f"an escape stands for a level of {largest}")


class Band:
    """The levels of a proved band, given piece by piece.

    Attributes:
        largest: no level is of a larger absolute value.

    """

    def __init__(self, stored: Stored, count: int) -> None:
        self._signed = stored.kind.expand(stored.stream, count)
        self._shift = stored.kind.shift
        self._low = stored.low
        self._escapes = stored.escapes
        # Most bands have none, and need no second pass.
        self._places = np.flatnonzero(self._signed == ESCAPE) if self._escapes.size else None
        self.largest = self._find_largest()

    def _find_largest(self) -> int:
        if not self._signed.size:
            return 0
        ends = int(self._signed.min()), int(self._signed.max()) + 1
        escaped = _largest(self._escapes)
        return max(-ends[0] << self._shift, ends[1] << self._shift, escaped)

    def write(self, begin: int, out: NDArray[Any]) -> None:
        """Write as many levels as fit to an array of integers, from `begin` on, a multiple of 8."""
        end = begin + out.size
        out[:] = self._signed[begin:end]
        if self._shift:
            # As a product, which numpy makes of several numbers at a time, and a shift of one.
            out *= 1 << self._shift
            out |= _unpack(self._low[begin * self._shift // 8 :], self._shift, out.size)
        if self._places is not None:
            first, last = np.searchsorted(self._places, (begin, end))
            out[self._places[first:last] - begin] = self._escapes[first:last]


def _largest(values: NDArray[np.int32]) -> int:
    """The largest absolute value, without a copy of them."""
    return max(-int(values.min(initial=0)), int(values.max(initial=0)))


def _unpack(low: Bytes, width: int, count: int) -> NDArray[np.int16]:
    """Numbers of `width` bits, by one look-up for all of a byte."""
    rows = numbers_of_bytes(width)
    return rows.take(low[: -(-count * width // 8)], axis=0, mode="clip").reshape(-1)[:count]
