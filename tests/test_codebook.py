"""The `codebook` codec, compared with its definition in docs/format.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from vggq._codecs import Codebook

from .helpers import decoded

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAR_CHUNK_SIZES = [n + d for n in (1 << 15, 1 << 16, 1 << 17) for d in (-1, 0, 1)]


def content_of(codebook: NDArray[np.float32], codes: list[int], width: int) -> bytes:
    """Return the content, with the codes packed through one large integer."""
    if width == 8:
        packed = bytes(codes)
    else:
        number = sum(code << (i * width) for i, code in enumerate(codes))
        packed = number.to_bytes(-(-len(codes) * width // 8), "little")
    return codebook.astype("<f4").tobytes() + packed


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 8, 15, 16, 17, 100, 128, 255, 256])
def test_weights_are_the_centroids_of_their_codes(k: int) -> None:
    rng = np.random.default_rng(k)
    codebook = rng.standard_normal(k).astype(np.float32)
    codec = Codebook(k)
    for count in [*range(20), 1000, 1003]:
        codes = rng.integers(0, k, count).tolist()
        content = content_of(codebook, codes, codec.width)
        assert len(content) == codec.content_size(count)
        values = decoded(codec, content, count)
        assert values.dtype == np.float32
        assert values.flags.writeable
        np.testing.assert_array_equal(values, codebook[codes] if codes else [])


@pytest.mark.parametrize("count", NEAR_CHUNK_SIZES)
@pytest.mark.parametrize("k", [2, 4, 16, 200, 256])
def test_counts_around_the_sizes_of_chunks(k: int, count: int) -> None:
    rng = np.random.default_rng(count)
    codebook = rng.standard_normal(k).astype(np.float32)
    codes = rng.integers(0, k, count).astype(np.uint8)
    width = Codebook(k).width
    bits = np.unpackbits(codes[:, None], axis=1, bitorder="little")[:, :width]
    packed = np.packbits(bits.reshape(-1), bitorder="little")
    content = codebook.tobytes() + packed.tobytes()
    np.testing.assert_array_equal(decoded(Codebook(k), content, count), codebook[codes])


@pytest.mark.parametrize("k", range(1, 257))
def test_width_is_the_smallest_that_numbers_all_centroids(k: int) -> None:
    width = Codebook(k).width
    assert width in (1, 2, 4, 8)
    assert k <= 2**width
    assert width == 1 or k > 2 ** (width // 2)


@pytest.mark.parametrize("k", [1, 3, 7, 15, 17, 255])
def test_code_that_exceeds_the_codebook_is_rejected(k: int) -> None:
    codec = Codebook(k)
    for place in range(8 // codec.width):
        codes = [0] * (8 // codec.width)
        codes[place] = k
        content = content_of(np.zeros(k, np.float32), codes, codec.width)
        with pytest.raises(ValueError, match=f"code {k} exceeds the codebook of {k} centroids"):
            decoded(codec, content, len(codes))


def test_bits_after_the_last_code_are_ignored() -> None:
    codebook = np.array([1, 2, 3, 4], np.float32)
    for unused in (0b000000, 0b111111):
        content = codebook.tobytes() + bytes([unused << 2 | 2])
        assert decoded(Codebook(4), content, 1).tolist() == [3]
