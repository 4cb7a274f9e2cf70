"""Which frame of some bytes is taken: the smallest, unless it is hardly smaller."""

from __future__ import annotations

import numpy as np
import pytest
import zstandard

from vggq import _zstd
from vggq.packing import compression

RNG = np.random.default_rng(4)
NOISE = RNG.integers(0, 256, 4096, np.uint8).tobytes()
SKEWED = RNG.binomial(40, 0.5, 4096).astype(np.uint8).tobytes()
# Below a 64th less for zstd's slowest level, and nothing for its fastest.
NEARLY_NOISE = RNG.normal(128, 60, 4096).clip(0, 255).astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    "content", [b"", b"a", bytes(9000), NOISE, SKEWED, NOISE * 3, NEARLY_NOISE], ids=len
)
def test_a_frame_holds_its_content(content: bytes) -> None:
    assert _zstd.decompress(compression.compress(content), len(content)) == content


def test_what_gains_next_to_nothing_is_stored_as_it_is() -> None:
    smallest = min(
        len(frame)
        for level in range(1, 20)
        for frame in [zstandard.ZstdCompressor(level).compress(NEARLY_NOISE)]
    )
    assert len(NEARLY_NOISE) * 63 / 64 < smallest < len(NEARLY_NOISE)
    assert NEARLY_NOISE in compression.compress(NEARLY_NOISE)


@pytest.mark.parametrize("content", [SKEWED, NOISE * 3], ids=["entropy", "matches"])
def test_what_gains_more_is_compressed(content: bytes) -> None:
    assert len(compression.compress(content)) < len(content) * 63 / 64


def test_parts_of_different_statistics_have_tables_of_their_own() -> None:
    parts = [RNG.integers(low, low + 4, 1 << 15, np.uint8).tobytes() for low in (0, 100, 200)]
    frame = compression.compress_parts(parts)
    content = b"".join(parts)
    assert _zstd.decompress(frame, len(content)) == content
    assert len(frame) < len(content) * 0.26
