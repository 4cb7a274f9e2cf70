"""Decoding against the definitions in docs/format.md, written out independently."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

from vggq import _dtypes
from vggq._codecs import Codebook, Raw

from .helpers import decoded

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAR_THE_PIECES = [n + d for n in (1 << 15, 1 << 16, 1 << 17) for d in (-1, 0, 1)]


def content_of(codebook: NDArray[np.float32], codes: list[int], width: int) -> bytes:
    """Codes put into a whole number, the first in its lowest bits."""
    if width == 8:
        packed = bytes(codes)
    else:
        number = sum(code << (i * width) for i, code in enumerate(codes))
        packed = number.to_bytes(-(-len(codes) * width // 8), "little")
    return codebook.astype("<f4").tobytes() + packed


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 8, 15, 16, 17, 100, 128, 255, 256])
def test_a_codebook_of_any_size(k: int) -> None:
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


@pytest.mark.parametrize("count", NEAR_THE_PIECES)
@pytest.mark.parametrize("k", [2, 4, 16, 200, 256])
def test_codes_around_the_sizes_of_pieces(k: int, count: int) -> None:
    rng = np.random.default_rng(count)
    codebook = rng.standard_normal(k).astype(np.float32)
    codes = rng.integers(0, k, count).astype(np.uint8)
    width = Codebook(k).width
    bits = np.unpackbits(codes[:, None], axis=1, bitorder="little")[:, :width]
    packed = np.packbits(bits.reshape(-1), bitorder="little")
    content = codebook.tobytes() + packed.tobytes()
    np.testing.assert_array_equal(decoded(Codebook(k), content, count), codebook[codes])


@pytest.mark.parametrize("k", range(1, 257))
def test_the_width_is_the_least_that_tells_centroids_apart(k: int) -> None:
    width = Codebook(k).width
    assert k <= 2**width
    assert width == 1 or k > 2 ** (width // 2)


@pytest.mark.parametrize("k", [1, 3, 7, 15, 17, 255])
def test_a_code_beyond_the_codebook(k: int) -> None:
    codec = Codebook(k)
    for place in range(8 // codec.width):
        codes = [0] * (8 // codec.width)
        codes[place] = k
        content = content_of(np.zeros(k, np.float32), codes, codec.width)
        with pytest.raises(ValueError, match=f"a code is beyond the codebook of {k}"):
            decoded(codec, content, len(codes))


def test_the_bits_behind_the_last_code_are_ignored() -> None:
    codebook = np.array([1, 2, 3, 4], np.float32)
    for junk in (0b000000, 0b111111):
        content = codebook.tobytes() + bytes([junk << 2 | 2])
        assert decoded(Codebook(4), content, 1).tolist() == [3]


@pytest.mark.parametrize("name", sorted(_dtypes.STORAGE))
def test_raw_of_every_dtype(name: str) -> None:
    dtype = _dtypes.STORAGE[name]
    values = np.arange(100).astype(dtype) if name != "BOOL" else np.arange(100) % 2 == 0
    content = values.tobytes()
    assert Raw(name).content_size(100) == len(content)
    restored = decoded(Raw(name), content, 100)
    assert restored.flags.writeable
    assert restored.dtype == _dtypes.restored_dtype(name)
    assert restored.dtype.isnative
    if name not in _dtypes.FOREIGN:
        np.testing.assert_array_equal(restored, values)


def test_raw_keeps_the_bits_of_every_float32() -> None:
    patterns = np.array([0x7FC00001, 0xFFFFFFFF, 0x7F800000, 0x80000000, 1, 0x00800000], "<u4")
    restored = decoded(Raw("F32"), patterns.tobytes(), 6)
    np.testing.assert_array_equal(restored.view(np.uint32), patterns)


def test_raw_float16_widens_exactly() -> None:
    every = np.arange(65536, dtype="<u2").view("<f2")
    restored = decoded(Raw("F16"), every.tobytes(), every.size)
    np.testing.assert_array_equal(restored.astype(np.float16), every)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("BF16", ml_dtypes.bfloat16),
        ("F8_E4M3", ml_dtypes.float8_e4m3fn),
        ("F8_E5M2", ml_dtypes.float8_e5m2),
    ],
)
def test_raw_of_what_numpy_lacks_widens_exactly(name: str, dtype: type) -> None:
    every = np.arange(1 << 8 * np.dtype(dtype).itemsize).astype(_dtypes.STORAGE[name])
    restored = decoded(Raw(name), every.tobytes(), every.size)
    expected = every.view(dtype).astype(np.float32)
    np.testing.assert_array_equal(restored, expected)
    np.testing.assert_array_equal(np.signbit(restored), np.signbit(expected))


def test_raw_float64_is_rounded_and_overflows_quietly() -> None:
    values = np.array([1 / 3, 1e300, -1e300, 1e-300])
    restored = decoded(Raw("F64"), values.tobytes(), 4)
    np.testing.assert_array_equal(restored, np.array([1 / 3, np.inf, -np.inf, 0], np.float32))


def test_a_boolean_is_0_or_1() -> None:
    assert decoded(Raw("BOOL"), b"\0\1", 2).tolist() == [False, True]
    assert decoded(Raw("BOOL"), b"", 0).tolist() == []
    with pytest.raises(ValueError, match="a boolean is neither 0 nor 1"):
        decoded(Raw("BOOL"), b"\0\2", 2)


@pytest.mark.parametrize(
    ("dtype", "name"),
    [("f4", "F32"), (">f8", "F64"), ("<i2", "I16"), ("?", "BOOL"), (">u8", "U64"), ("u1", "U8")],
)
def test_names_of_dtypes(dtype: str, name: str) -> None:
    assert _dtypes.name_of(np.dtype(dtype)) == name


@pytest.mark.parametrize("dtype", ["c8", "O", "U3", "S2", "M8[s]", "f4,i4", "V3"])
def test_dtypes_without_a_name(dtype: str) -> None:
    kind: Any = np.dtype(dtype)
    assert _dtypes.name_of(kind) is None
