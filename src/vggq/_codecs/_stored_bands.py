"""Bands of the ``grid`` codec in their stored form: headers, streams, low bits and escapes."""

from __future__ import annotations

from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ._streams import Kind, Plain, Runs, kind_from_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ._streams import Bytes, SignedBytes

BAND_HEADER: Final = np.dtype([("kind", "<u8"), ("length", "<u8"), ("escapes", "<u8")])
ESCAPED_LEVEL: Final = np.dtype("<i4")


class StoredBands(NamedTuple):
    """Neighboring bands with plain streams, or one band with runs.

    Attributes:
        kinds: the kind of each stream.
        streams: the bytes of the streams, band after band.
        low: the low bits of the levels, band after band.
        counts: the number of escapes of each band.
        escapes: the values of the escapes, band after band.

    """

    kinds: list[Kind]
    streams: Bytes
    low: Bytes
    counts: list[int]
    escapes: NDArray[np.int32]

    def expand(self, count: int) -> SignedBytes:
        """Return the upper bits of each level, and ESCAPE for escapes: an array (bands, count).

        Plain streams are not copied.

        Args:
            count: the number of levels of a band.

        Raises:
            ValueError: a stream has an undefined symbol, or not `count` levels.

        """
        streams = self.streams.reshape(len(self.kinds), -1)
        return self.kinds[0].expand(streams, count)


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
    lows = [low_size(kind.shift, count) for kind in kinds]
    size = headers.nbytes + sum([*lengths, *lows]) + ESCAPED_LEVEL.itemsize * sum(counts)
    if size != len(content):
        raise ValueError(f"the bands take {size} bytes, the content has {len(content)}")
    for kind, length in zip(kinds, lengths, strict=True):
        if isinstance(kind, Plain) and length != count:
            raise ValueError(f"a band of {count} levels has {length} bytes")
    groups = list(_find_groups(kinds))
    data = np.frombuffer(content, np.uint8, offset=headers.nbytes)
    streams, data = split(data, [sum(lengths[group]) for group in groups])
    low_bits, planes = split(data, [sum(lows[group]) for group in groups])
    values = planes.reshape(ESCAPED_LEVEL.itemsize, -1).T.copy().view(ESCAPED_LEVEL).reshape(-1)
    escapes, _ = split(values, [sum(counts[group]) for group in groups])
    return [
        StoredBands(kinds[group], stream, low, counts[group], found)
        for group, stream, low, found in zip(groups, streams, low_bits, escapes, strict=True)
    ]


def low_size(shift: int, count: int) -> int:
    """Return the bytes of the low bits of a band of `count` levels, `shift` bits for each."""
    return -(-count * shift // 8)


def _find_groups(kinds: list[Kind]) -> Iterator[slice]:
    """Yield the bands that are decoded together: neighbors with plain streams."""
    begin = 0
    # Each band with runs has a key of its own.
    for _, group in groupby(enumerate(kinds), lambda pair: isinstance(pair[1], Runs) and pair):
        end = begin + len(list(group))
        yield slice(begin, end)
        begin = end


def split(array: NDArray[Any], sizes: list[int]) -> tuple[list[NDArray[Any]], NDArray[Any]]:
    """Return consecutive parts of an array, and the rest; faster than np.split."""
    ends = list(accumulate(sizes))
    parts = [array[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    return parts, array[ends[-1] :]
