"""Decompressing and decoding one tensor."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from vggq import _decode
from vggq._buffers import Buffers
from vggq._codecs import Codebook, Grid, Raw
from vggq._codecs._scales import Slices
from vggq._manifest import TensorInfo
from vggq.errors import DataError

from .helpers import read_nothing
from .zstd_frames import make_frame

if TYPE_CHECKING:
    from collections.abc import Callable

CODES = [0, 1, 2, 3, 3, 2]
CENTROIDS = np.array([0.5, -1, 2, 4], "<f4")
CONTENT = CENTROIDS.tobytes() + bytes([0b11100100, 0b1011])
VALUES = CENTROIDS[CODES].reshape(2, 3)
TENSOR = TensorInfo("w", (2, 3), "F16", "F32", 0, Codebook(4), 10.0, 0.1)
BAND = np.array([0, 6, 0], "<u8").tobytes() + bytes([1, 0, 2, 0, 0xFF, 3])
GRID = replace(TENSOR, codec=Grid(1, False, 1, 1, 4 + len(BAND)))


def read(data: bytes, tensor: TensorInfo) -> None:
    _decode.decompress_entry(data, tensor)


def restore(data: bytes, tensor: TensorInfo) -> None:
    """Restore into an array, which damaged content of a grid leaves unchanged."""
    out = np.full(tensor.shape, 7, tensor.dtype)
    try:
        _decode.restore_entry(data, tensor, out, None)
    finally:
        assert not tensor.codec.VALIDATES or (out == 7).all()


@pytest.mark.parametrize("buffers", [None, Buffers(read_nothing)])
def test_tensor_is_decoded(buffers: Buffers | None) -> None:
    content = _decode.decompress_entry(make_frame(CONTENT), TENSOR, buffers)
    assert bytes(content) == CONTENT
    restored = _decode.decode(content, TENSOR, np.dtype(np.float64))
    assert restored.dtype == np.float64
    assert restored.flags.writeable
    np.testing.assert_array_equal(restored, VALUES)


@pytest.mark.parametrize(
    ("data", "tensor", "reason"),
    [
        (b"what", TENSOR, "not a zstd frame"),
        (make_frame(CONTENT)[:-1], TENSOR, "the zstd frame does not end with its entry"),
        (
            make_frame(CONTENT),
            replace(TENSOR, shape=(2, 6)),
            "the zstd frame declares 18 bytes of content, expected 19",
        ),
        (
            make_frame(CENTROIDS[:3].tobytes() + CONTENT[16:]),
            replace(TENSOR, codec=Codebook(3)),
            "code 3 exceeds the codebook of 3 centroids",
        ),
        (
            make_frame(bytes([0x80, 0xFF]) + CONTENT),
            replace(TENSOR, codec=Codebook(4, Slices(1, 6))),
            "a scale is not a finite number of at least 0",
        ),
        (
            make_frame(bytes(2) + CONTENT),
            replace(TENSOR, codec=Codebook(4, Slices(1, 6))),
            "a centroid of a tensor with scales is not from -1 to 1",
        ),
        (
            make_frame(b"\2"),
            TensorInfo("w", (1,), "BOOL", "BOOL", 0, Raw("BOOL"), 0, 0),
            "a boolean is neither 0 nor 1",
        ),
        (make_frame(bytes(4) + BAND)[:-1], GRID, "the zstd frame does not end with its entry"),
        (make_frame(bytes(4) + BAND), GRID, "the step size is 0.0"),
        (
            make_frame(bytes(4) + BAND),
            replace(GRID, source_dtype="BF16", stored_dtype="BF16"),
            "the step size is 0.0",
        ),
        (
            make_frame(np.float32(1).tobytes() + BAND[:-1] + b"\x80"),
            GRID,
            "a band has 1 escapes, but 0 values for them",
        ),
    ],
)
@pytest.mark.parametrize("function", [read, restore])
def test_damaged_tensor_is_named(
    function: Callable[[bytes, TensorInfo], None], data: bytes, tensor: TensorInfo, reason: str
) -> None:
    with pytest.raises(DataError) as caught:
        function(data, tensor)
    assert str(caught.value).startswith(f"tensor 'w': {reason}")
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("stored", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("slices", [None, Slices(1, 6)])
def test_restored_entry_is_its_decoded_content(
    dtype: Any, stored: str, slices: Slices | None
) -> None:
    """With values that change when they are rounded, and products that underflow."""
    codec = Codebook(4, slices)
    tensor = replace(TENSOR, source_dtype=stored, stored_dtype=stored, codec=codec)
    centroids = np.array([0.1, 1 / 3, 1e-7, 1e-30], "<f4")
    # The smallest scale.
    content = (b"\1\0" if slices else b"") + centroids.tobytes() + CONTENT[-2:]
    out = np.empty(tensor.shape, dtype)
    with np.errstate(all="raise"):
        _decode.restore_entry(make_frame(content), tensor, out, None)
        np.testing.assert_array_equal(out, _decode.decode(content, tensor, np.dtype(dtype)))
    if stored != "F32" and not slices:
        assert out[0, 0] != np.float32(0.1)


@pytest.mark.parametrize(
    "out",
    [
        np.empty((2, 3), np.float32),
        np.empty((3, 2), np.float32).T,
        np.empty((4, 6), np.float16)[::2, ::2],
        np.empty((2, 3), ">f4"),
    ],
)
def test_decode_into_arrays_of_any_strides(out: Any) -> None:
    _decode.decode_into(CONTENT, TENSOR, out)
    np.testing.assert_array_equal(out, VALUES)


def test_only_strided_arrays_need_a_temporary_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    contiguous, strided = np.empty((2, 3), np.float32), np.empty((2, 6), np.float32)[:, ::2]
    allocated: list[tuple[int, ...]] = []
    empty = np.empty

    def recorded_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        allocated.append(shape)
        return empty(shape, dtype)

    monkeypatch.setattr(np, "empty", recorded_empty)
    _decode.decode_into(CONTENT, TENSOR, contiguous)
    assert allocated == []
    _decode.decode_into(CONTENT, TENSOR, strided)
    assert allocated == [(2, 3)]
    np.testing.assert_array_equal(contiguous, strided)
