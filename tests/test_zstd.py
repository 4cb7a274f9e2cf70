"""Decompression by zstandard, and by the standard library's zstd in the form of its backport."""

from __future__ import annotations

import sys
from contextlib import suppress
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
import zstandard

from vggq import _zstd
from vggq._buffers import Buffers

from .helpers import read_nothing

if sys.version_info >= (3, 14):
    from compression import zstd as stdlib
else:
    from backports import zstd as stdlib

CONTENT = bytes(range(200)) * 3 + b"\0" * 500


@pytest.fixture(params=["zstandard", "zstandard into buffers", "stdlib"], autouse=True)
def buffers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Buffers | None:
    """Select the implementation, and return buffers for the one that uses them."""
    monkeypatch.setattr(_zstd, "_stdlib", stdlib if request.param == "stdlib" else None)
    return Buffers(read_nothing) if request.param == "zstandard into buffers" else None


def frame(content: bytes = CONTENT, **options: bool) -> bytes:
    options = {"write_checksum": True} | options
    return zstandard.ZstdCompressor(level=1, **options).compress(content)  # type: ignore[arg-type]


def frame_error(data: bytes, size: int = len(CONTENT), buffers: Buffers | None = None) -> str:
    with pytest.raises(_zstd.FrameError) as caught:
        _zstd.decompress(data, size, buffers)
    return str(caught.value)


@pytest.mark.parametrize("content", [CONTENT, b"a", b"\0" * 1_000_000, b""])
def test_frame_is_decompressed(content: bytes, buffers: Buffers | None) -> None:
    assert _zstd.decompress(frame(content) if content else b"", len(content), buffers) == content


def test_size_that_differs_from_the_declared_one(buffers: Buffers | None) -> None:
    for size in (len(CONTENT) - 1, len(CONTENT) + 1, 2**60):
        assert frame_error(frame(), size, buffers=buffers) == (
            f"the zstd frame declares {len(CONTENT)} bytes of content, expected {size}"
        )


def test_frame_without_a_declared_size(buffers: Buffers | None) -> None:
    assert frame_error(frame(write_content_size=False), buffers=buffers) == (
        f"the zstd frame declares no content size, expected {len(CONTENT)}"
    )


def test_frame_without_a_checksum(buffers: Buffers | None) -> None:
    assert (
        frame_error(frame(write_checksum=False), buffers=buffers)
        == "the zstd frame has no content checksum"
    )


def test_bytes_for_empty_content(buffers: Buffers | None) -> None:
    assert (
        frame_error(b"x", 0, buffers=buffers) == "an entry without content has 1 bytes, expected 0"
    )
    assert (
        frame_error(frame(b""), 0, buffers=buffers)
        == f"an entry without content has {len(frame(b''))} bytes, expected 0"
    )


@pytest.mark.parametrize("data", [b"", b"\x28", b"PK\x03\x04" + bytes(40)])
def test_bytes_that_are_not_a_frame(data: bytes, buffers: Buffers | None) -> None:
    assert frame_error(data, buffers=buffers) == "not a zstd frame"


def test_skippable_frame_before_the_frame(buffers: Buffers | None) -> None:
    assert (
        frame_error(b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + frame(), buffers=buffers)
        == "not a zstd frame"
    )


def test_every_truncation(buffers: Buffers | None) -> None:
    whole = frame()
    for length in range(len(whole)):
        frame_error(whole[:length], buffers=buffers)


def test_every_flipped_bit(buffers: Buffers | None) -> None:
    whole = frame()
    for position in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        # zstd ignores a few bits.
        with suppress(_zstd.FrameError):
            assert _zstd.decompress(bytes(damaged), len(CONTENT), buffers) == CONTENT


@pytest.mark.parametrize("after", [b"\0", b"\0" * 100, frame(), frame()[:7]])
def test_bytes_after_the_frame(after: bytes, buffers: Buffers | None) -> None:
    frame_error(frame() + after, buffers=buffers)


def test_frame_with_more_content_than_it_declares(buffers: Buffers | None) -> None:
    changed = bytearray(frame(b"\0" * 300))
    offset = bytes(changed).index((300 - 256).to_bytes(2, "little"))
    changed[offset : offset + 2] = (290 - 256).to_bytes(2, "little")
    frame_error(bytes(changed), 290, buffers=buffers)


def test_library_that_does_not_compare_the_content_with_the_declared_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_zstd, "_stdlib", None)
    assert _zstd.decompress(frame(), len(CONTENT), Buffers(read_nothing)) == CONTENT
    library = SimpleNamespace(stream_reader=lambda _: BytesIO(CONTENT[:-1]))
    monkeypatch.setattr(_zstd._thread_local, "decompressor", library)
    reason = frame_error(frame(), buffers=Buffers(read_nothing))
    assert reason == "the zstd frame has less content than it declares"


def test_frame_with_a_large_window(buffers: Buffers | None) -> None:
    content = bytes(130 << 20)
    parameters = zstandard.ZstdCompressionParameters(
        window_log=28, write_checksum=True, write_content_size=True
    )
    whole = zstandard.ZstdCompressor(compression_params=parameters).compress(content)
    assert zstandard.get_frame_parameters(whole).window_size > 1 << 27
    assert _zstd.decompress(whole, len(content), buffers) == content


def test_frames_with_every_kind_of_header_and_block(buffers: Buffers | None) -> None:
    rng = np.random.default_rng(0)
    for size in (1, 255, 256, 65_791, 65_792, 300_000):
        for content in (bytes(size), rng.bytes(size), rng.integers(0, 9, size, np.uint8).tobytes()):
            for level in (1, 19):
                maker = zstandard.ZstdCompressor(level=level, write_checksum=True)
                whole = maker.compress(content)
                assert _zstd.decompress(whole, size, buffers) == content
                stream = maker.compressobj(size=size)
                parts = stream.compress(content[: size // 2]) + stream.flush(
                    zstandard.COMPRESSOBJ_FLUSH_BLOCK
                )
                whole = parts + stream.compress(content[size // 2 :]) + stream.flush()
                assert _zstd.decompress(whole, size, buffers) == content
                frame_error(whole + b"\0", size, buffers)
                frame_error(whole[:-1], size, buffers)
