"""One tensor's stored bytes to an array."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import zstandard

from vggq import _decode
from vggq._buffers import Buffers
from vggq._codecs import Codebook, Raw
from vggq._manifest import TensorInfo
from vggq.errors import DataError

from .helpers import no_file

CODES = [0, 1, 2, 3, 3, 2]
CENTROIDS = np.array([0.5, -1, 2, 4], "<f4")
CONTENT = CENTROIDS.tobytes() + bytes([0b11100100, 0b1011])
VALUES = CENTROIDS[CODES].reshape(2, 3)
TENSOR = TensorInfo("w", (2, 3), "F16", "F32", 0, Codebook(4), 10.0, 0.1)


def frame(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


@pytest.mark.parametrize("scratch", [None, Buffers(no_file)])
def test_a_tensor(scratch: Buffers | None) -> None:
    content = _decode.decompress(frame(CONTENT), TENSOR, scratch)
    assert bytes(content) == CONTENT
    restored = _decode.decode(content, TENSOR, np.dtype(np.float64))
    assert restored.dtype == np.float64
    assert restored.flags.writeable
    np.testing.assert_array_equal(restored, VALUES)


@pytest.mark.parametrize(
    ("data", "tensor", "why"),
    [
        (b"what", TENSOR, "not a zstd frame"),
        (frame(CONTENT)[:-1], TENSOR, "decompression error: did not decompress full frame"),
        (
            frame(CONTENT),
            replace(TENSOR, shape=(2, 6)),
            "the frame declares 18 bytes of content, not 19",
        ),
        (
            frame(CENTROIDS[:3].tobytes() + CONTENT[16:]),
            replace(TENSOR, codec=Codebook(3)),
            "a code is beyond the codebook of 3",
        ),
        (
            frame(b"\2"),
            TensorInfo("w", (1,), "BOOL", "BOOL", 0, Raw("BOOL"), 0, 0),
            "a boolean is neither 0 nor 1",
        ),
    ],
)
def test_damage_names_the_tensor(data: bytes, tensor: TensorInfo, why: str) -> None:
    with pytest.raises(DataError) as caught:
        _decode.decompress(data, tensor)
    assert str(caught.value).startswith(f"tensor 'w': {why}")
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize(
    "out",
    [
        np.empty((2, 3), np.float32),
        np.empty((3, 2), np.float32).T,
        np.empty((4, 6), np.float16)[::2, ::2],
        np.empty((2, 3), ">f4"),
    ],
)
def test_arrays_of_any_strides(out: Any) -> None:
    _decode.decode_into(CONTENT, TENSOR, out)
    np.testing.assert_array_equal(out, VALUES)


def test_an_array_is_written_to_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a second one is taken only where it does not lie in one piece."""
    plain, strided = np.empty((2, 3), np.float32), np.empty((2, 6), np.float32)[:, ::2]
    taken: list[tuple[int, ...]] = []
    empty = np.empty

    def counting(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        taken.append(shape)
        return empty(shape, dtype)

    monkeypatch.setattr(np, "empty", counting)
    _decode.decode_into(CONTENT, TENSOR, plain)
    assert taken == []
    _decode.decode_into(CONTENT, TENSOR, strided)
    assert taken == [(2, 3)]
    np.testing.assert_array_equal(plain, strided)
