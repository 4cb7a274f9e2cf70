"""The division of content into blocks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vggq.packing.blocks import MAX_BLOCK_SIZE, find_blocks

RNG = np.random.default_rng(5)


def symbols(low: int, count: int) -> bytes:
    """Return random bytes, of which each takes two bits."""
    return RNG.integers(low, low + 4, count, np.uint8).tobytes()


@given(st.lists(st.integers(0, 40_000), max_size=12), st.integers(0, 99))
def test_blocks_are_the_content_in_order(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [rng.integers(0, rng.integers(1, 256), size, np.uint8).tobytes() for size in sizes]
    blocks = find_blocks(parts)
    assert b"".join(blocks) == b"".join(parts)
    assert all(0 < len(block) <= MAX_BLOCK_SIZE for block in blocks)


def test_blocks_end_where_the_statistics_change() -> None:
    parts = [symbols(0, 20_000), symbols(100, 3_000), symbols(200, 70_000)]
    assert find_blocks(parts) == parts
    content = symbols(0, 1 << 14) + symbols(100, 1 << 15) + symbols(0, 1 << 14)
    assert [len(block) for block in find_blocks([content])] == [1 << 14, 1 << 15, 1 << 14]


def test_parts_with_the_same_statistics_share_a_block() -> None:
    parts = [symbols(0, 9_000) for _ in range(10)]
    assert find_blocks(parts) == [b"".join(parts)]


def test_parts_that_are_too_small_for_a_table_share_a_block() -> None:
    assert len(find_blocks([symbols(4 * at, 50) for at in range(8)])) == 1


def test_blocks_are_at_most_as_large_as_a_block_of_zstd() -> None:
    content = symbols(0, 3 * MAX_BLOCK_SIZE)
    assert [len(block) for block in find_blocks([content])] == [MAX_BLOCK_SIZE] * 3
