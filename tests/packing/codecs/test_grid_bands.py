"""Levels to bands and back, and bands that are damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from vggq._codecs._bands import HEADER, MAX_LEVEL, Band, Stored, check, parse
from vggq._codecs._streams import SHIFTS, Kind, Plain, Runs, kind_of
from vggq.packing.codecs.grid.streams import _stream, content_of, shortest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Levels = NDArray[np.int32]

KINDS: list[Kind] = [*map(Plain, SHIFTS), *(Runs(most) for most in (1, 2, 7, 42, 63, 127))]

# Few are large, so that there are runs of zeros, levels that fit a byte, and escapes.
some_levels = npst.arrays(
    np.int32,
    st.integers(0, 600),
    elements=st.sampled_from([1, -1, 2, -128, 127, 128, -2047])
    | st.integers(-MAX_LEVEL, MAX_LEVEL),
    fill=st.just(0),
)


def proved(content: bytes, bands: int, count: int) -> list[Stored]:
    found = parse(memoryview(content), bands, count)
    for band in found:
        check(band, count)
    return found


def back(content: bytes, bands: int, count: int) -> list[NDArray[np.int64]]:
    found = []
    for stored in proved(content, bands, count):
        band = Band(stored, count)
        levels = np.empty(count, np.int64)
        # Pieces that are not of one length.
        for begin in range(0, count, 64):
            band.write(begin, levels[begin : begin + 64])
        assert np.abs(levels).max(initial=0) <= band.largest
        found.append(levels)
    return found


@given(some_levels, st.sampled_from(KINDS), st.sampled_from([127, 20, 1]))
def test_levels_of_every_kind_come_back(levels: Levels, kind: Kind, most: int) -> None:
    content = b"".join(content_of([_stream(kind, most, levels)] * 2))
    for found in back(content, 2, levels.size):
        np.testing.assert_array_equal(found, levels)


@given(some_levels)
def test_the_shortest_stream_is_one_of_them(levels: Levels) -> None:
    (found,) = back(b"".join(content_of([shortest(levels)])), 1, levels.size)
    np.testing.assert_array_equal(found, levels)


@pytest.mark.parametrize("spread", [0.2, 0.7, 3.0, 30.0, 300.0, 5000.0])
def test_a_stream_is_near_the_entropy(spread: float) -> None:
    levels = np.rint(np.random.default_rng(0).standard_normal(1 << 18) * spread).astype(np.int32)
    found = np.unique(levels, return_counts=True)[1] / levels.size
    entropy = -float(found @ np.log2(found)) * levels.size / 8
    assert shortest(levels).cost < 1.06 * entropy


def test_codes_of_kinds() -> None:
    for kind in KINDS:
        assert kind_of(kind.code) == kind
    for code in (3, 5, 127, 128, 256, 2**64 - 1):
        with pytest.raises(ValueError, match=f"a band is of the unknown kind {code}"):
            kind_of(code)


def content(kind: int, stream: bytes, escapes: int, rest: bytes = b"") -> bytes:
    return np.array([(kind, len(stream), escapes)], HEADER).tobytes() + stream + rest


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (content(0, b"\1\2", 0), "a band of 3 levels has 2 bytes"),
        (content(0, b"\1\2\3\4", 0), "a band of 3 levels has 4 bytes"),
        (content(0, b"\1\2\3", 0, b"\0"), "the bands take 27 of 28 bytes"),
        (content(1, b"\1\2\3", 0), "the bands take 28 of 27 bytes"),
        (content(0, b"\1\x80\3", 0), "a band has 1 escapes, and values for 0"),
        (content(0, b"\1\2\3", 1, bytes(4)), "a band has 0 escapes, and values for 1"),
        (content(0, b"\1\2\3", 2**63), "the bands take"),
        (content(129, b"\0\0", 0), "the runs of a band of 3 levels end at 2"),
        (content(129, b"\0\0\0\0", 0), "the runs of a band of 3 levels end at 4"),
        (content(129, b"\x0c", 0), "the runs of a band of 3 levels end at 5"),
        (content(129, b"\xff\xff", 0), "the runs of a band of 3 levels end at 170"),
        (content(130, b"\xfe", 0), "the runs of a band of 3 levels end at 51"),
        (content(255, b"\0\xfe\0", 0), "a band has 1 escapes, and values for 0"),
        (content(192, b"\0\xfa\0", 0), "a symbol of a band stands for nothing"),
        (content(3, b"\1\2\3", 0), "a band is of the unknown kind 3"),
    ],
)
def test_damage_is_told(damaged: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        proved(damaged, 1, 3)


def test_zeros_beyond_the_end_are_ignored() -> None:
    (found,) = back(content(129, b"\x06\xff", 0), 1, 4)
    assert found.tolist() == [0, 0, 1, 0]
