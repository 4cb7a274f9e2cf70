"""Encoding and decoding of bands, and errors for damaged bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from vggq._codecs._bands import BandsDecoder
from vggq._codecs._escapes import MAX_LEVEL
from vggq._codecs._scratch import Scratch
from vggq._codecs._stored_bands import BAND_HEADER, parse_bands
from vggq._codecs._streams import SHIFTS, Kind, Plain, Runs, kind_from_code
from vggq.packing.codecs.grid.streams import encode_band, encode_levels, serialize_bands

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Levels = NDArray[np.int32]

KINDS: list[Kind] = [*map(Plain, SHIFTS), *(Runs(limit) for limit in (1, 2, 7, 42, 63, 127))]

# Runs of zeros, levels that fit into a byte, and levels that need an escape.
some_levels = npst.arrays(
    np.int32,
    st.integers(0, 600),
    elements=st.sampled_from([1, -1, 2, -128, 127, 128, -2047])
    | st.integers(-MAX_LEVEL, MAX_LEVEL),
    fill=st.just(0),
)


def parse(content: bytes, bands: int, count: int) -> list[BandsDecoder]:
    stored = parse_bands(memoryview(content), bands, count)
    return [BandsDecoder(group, count, Scratch()) for group in stored]


def decode(content: bytes, bands: int, count: int) -> list[NDArray[np.int64]]:
    found: list[NDArray[np.int64]] = []
    for group in parse(content, bands, count):
        levels = np.empty((len(group), count), np.int64)
        # The last chunk is shorter than the others.
        for begin in range(0, count, 64):
            group.decode_into(levels[:, begin : begin + 64], begin, Scratch())
        assert (np.abs(levels).max(axis=1, initial=0) <= group.largest).all()
        found += list(levels)
    return found


@given(some_levels, st.sampled_from(KINDS), st.sampled_from([127, 20, 1]))
def test_decoding_returns_the_levels_for_every_kind(levels: Levels, kind: Kind, limit: int) -> None:
    content = b"".join(serialize_bands([encode_levels(kind, limit, levels)] * 2))
    for found in decode(content, 2, levels.size):
        np.testing.assert_array_equal(found, levels)


@given(some_levels)
def test_decoding_returns_the_levels_of_the_smallest_stream(levels: Levels) -> None:
    (found,) = decode(b"".join(serialize_bands([encode_band(levels)])), 1, levels.size)
    np.testing.assert_array_equal(found, levels)


@pytest.mark.parametrize("spread", [0.2, 0.7, 3.0, 30.0, 300.0, 5000.0])
def test_compressed_band_is_within_6_percent_of_the_entropy(spread: float) -> None:
    levels = np.rint(np.random.default_rng(0).standard_normal(1 << 18) * spread).astype(np.int32)
    found = np.unique(levels, return_counts=True)[1] / levels.size
    entropy = -float(found @ np.log2(found)) * levels.size / 8
    assert encode_band(levels).estimate_size() < 1.06 * entropy


def test_kind_of_inverts_code_and_rejects_unknown_codes() -> None:
    for kind in KINDS:
        found = kind_from_code(kind.code)
        assert (type(found), found) == (type(kind), kind)
    for code in (3, 5, 127, 128, 256, 2**64 - 1):
        with pytest.raises(ValueError, match=f"a band has the unknown kind {code}"):
            kind_from_code(code)


def content(kind: int, stream: bytes, escapes: int, rest: bytes = b"") -> bytes:
    return np.array([(kind, len(stream), escapes)], BAND_HEADER).tobytes() + stream + rest


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (content(0, b"\1\2", 0), "a band of 3 levels has 2 bytes"),
        (content(0, b"\1\2\3\4", 0), "a band of 3 levels has 4 bytes"),
        (content(0, b"\1\2\3", 0, b"\0"), "the bands take 27 bytes, the content has 28"),
        (content(1, b"\1\2\3", 0), "the bands take 28 bytes, the content has 27"),
        (content(0, b"\1\x80\3", 0), "a band has 1 escapes, but 0 values for them"),
        (content(0, b"\1\2\3", 1, bytes(4)), "a band has 0 escapes, but 1 values for them"),
        (content(0, b"\1\2\3", 2**63), "the bands take"),
        (content(129, b"\0\0", 0), "a band of 3 levels has runs of 2 levels"),
        (content(129, b"\0\0\0\0", 0), "a band of 3 levels has runs of 4 levels"),
        (content(129, b"\x0c", 0), "a band of 3 levels has runs of 5 levels"),
        (content(129, b"\xff\xff", 0), "a band of 3 levels has runs of 170 levels"),
        (content(130, b"\xfe", 0), "a band of 3 levels has runs of 51 levels"),
        (content(255, b"\0\xfe\0", 0), "a band has 1 escapes, but 0 values for them"),
        (content(192, b"\0\xfa\0", 0), "a band has an undefined symbol"),
        (content(3, b"\1\2\3", 0), "a band has the unknown kind 3"),
    ],
)
def test_damaged_bands_raise_an_error(damaged: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(damaged, 1, 3)


@pytest.mark.parametrize(
    ("counts", "found", "expected"),
    [((1, 1, 0), 0, 1), ((0, 1, 0), 2, 1), ((0, 1, 1), 2, 1), ((0, 2, 1), 0, 1), ((0, 3, 0), 2, 3)],
)
def test_escapes_are_counted_in_each_band(
    counts: tuple[int, ...], found: int, expected: int
) -> None:
    headers = np.array([(0, 3, count) for count in counts], BAND_HEADER).tobytes()
    damaged = headers + b"\1\2\3" + b"\1\x80\x80" + b"\1\2\3" + bytes(4 * sum(counts))
    with pytest.raises(ValueError, match=f"^a band has {found} escapes, but {expected} values"):
        parse(damaged, 3, 3)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("escapes", [(1, 1), (1, 0), (0, 1)])
def test_escapes_may_be_smaller_than_other_levels(shift: int, escapes: tuple[int, int]) -> None:
    """No encoder writes them, but the bound of the levels has to hold, and `decode` checks it."""
    headers = np.array([(shift, 8, count) for count in escapes], BAND_HEADER).tobytes()
    upper = b"".join(bytes([127, 129, 128 if count else 0, *bytes(5)]) for count in escapes)
    low = b"\xff" * (2 * shift)
    values = bytes([5] * sum(escapes) + [0] * (3 * sum(escapes)))
    found = decode(headers + upper + low + values, 2, 8)
    ones = (1 << shift) - 1
    for band, count in zip(found, escapes, strict=True):
        third = 5 if count else ones
        assert band.tolist()[:3] == [127 * (1 << shift) + ones, -127 * (1 << shift) + ones, third]


def test_largest_levels_of_bands_are_those_of_their_escapes() -> None:
    levels = [np.array([1, large], np.int32) for large in (-1000, 3, 70_000, 200)]
    stored = b"".join(serialize_bands([encode_levels(Plain(0), 127, band) for band in levels]))
    (group,) = parse(stored, 4, 2)
    assert group.largest == [1000, 4, 70_000, 200]


def test_neighbors_with_plain_streams_are_decoded_together_without_a_copy() -> None:
    levels = np.zeros(1000, np.int32)
    kinds: list[Kind] = [Plain(0), Plain(1), Plain(1), Runs(1), Runs(42), Plain(0)]
    stored = b"".join(serialize_bands([encode_levels(kind, 127, levels) for kind in kinds]))
    groups = parse_bands(memoryview(stored), len(kinds), levels.size)
    assert [len(group.kinds) for group in groups] == [3, 1, 1, 1]
    copied = [not np.shares_memory(g.expand(levels.size), g.streams) for g in groups]
    assert copied == [False, True, True, False]


def test_zeros_past_the_end_of_a_band_are_ignored() -> None:
    (found,) = decode(content(129, b"\x06\xff", 0), 1, 4)
    assert found.tolist() == [0, 0, 1, 0]
