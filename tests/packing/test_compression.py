"""The choice of a zstd frame: the smallest, unless it saves next to nothing."""

from __future__ import annotations

import numpy as np
import pytest
import zstandard

from vggq import _zstd
from vggq.packing import compression

RNG = np.random.default_rng(4)
NOISE = RNG.integers(0, 256, 4096, np.uint8).tobytes()
SKEWED = RNG.binomial(40, 0.5, 4096).astype(np.uint8).tobytes()
# Content that the slowest level shrinks by less than a 64th, and the fastest not at all.
NEARLY_NOISE = RNG.normal(128, 60, 4096).clip(0, 255).astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    "content", [b"", b"a", bytes(9000), NOISE, SKEWED, NOISE * 3, NEARLY_NOISE], ids=len
)
def test_frame_decompresses_to_its_content(content: bytes) -> None:
    assert _zstd.decompress(compression.compress(content), len(content)) == content


def test_content_that_shrinks_by_less_than_a_64th_is_stored_uncompressed() -> None:
    smallest = min(
        len(frame)
        for level in range(1, 20)
        for frame in [zstandard.ZstdCompressor(level).compress(NEARLY_NOISE)]
    )
    assert len(NEARLY_NOISE) * 63 / 64 < smallest < len(NEARLY_NOISE)
    assert NEARLY_NOISE in compression.compress(NEARLY_NOISE)


@pytest.mark.parametrize("content", [SKEWED, NOISE * 3], ids=["entropy", "matches"])
def test_content_that_shrinks_by_more_is_compressed(content: bytes) -> None:
    assert len(compression.compress(content)) < len(content) * 63 / 64


def test_parts_with_different_statistics_get_their_own_tables() -> None:
    parts = [RNG.integers(low, low + 4, 1 << 15, np.uint8).tobytes() for low in (0, 100, 200)]
    frame = compression.compress_parts(parts)
    content = b"".join(parts)
    assert _zstd.decompress(frame, len(content)) == content
    assert len(frame) < len(content) * 0.26
