"""Both branches: zstandard, and the standard library's zstd by way of its backport."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
import zstandard
from backports import zstd as backport

from vggq import _zstd
from vggq._buffers import Buffers

from .helpers import no_file

CONTENT = bytes(range(200)) * 3 + b"\0" * 500


@pytest.fixture(params=["zstandard", "zstandard into scratch", "stdlib"], autouse=True)
def scratch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Buffers | None:
    monkeypatch.setattr(_zstd, "_stdlib", backport if request.param == "stdlib" else None)
    return Buffers(no_file) if request.param == "zstandard into scratch" else None


def frame(content: bytes = CONTENT, **options: bool) -> bytes:
    options = {"write_checksum": True} | options
    return zstandard.ZstdCompressor(level=1, **options).compress(content)  # type: ignore[arg-type]


def refused(data: bytes, size: int = len(CONTENT), scratch: Buffers | None = None) -> str:
    with pytest.raises(_zstd.FrameError) as caught:
        _zstd.decompress(data, size, scratch)
    return str(caught.value)


@pytest.mark.parametrize("content", [CONTENT, b"a", b"\0" * 1_000_000, b""])
def test_a_frame(content: bytes, scratch: Buffers | None) -> None:
    assert _zstd.decompress(frame(content) if content else b"", len(content), scratch) == content


def test_another_size_than_declared(scratch: Buffers | None) -> None:
    for size in (len(CONTENT) - 1, len(CONTENT) + 1, 2**60):
        assert refused(frame(), size, scratch=scratch) == (
            f"the frame declares {len(CONTENT)} bytes of content, not {size}"
        )


def test_no_declared_size(scratch: Buffers | None) -> None:
    assert refused(frame(write_content_size=False), scratch=scratch) == (
        f"the frame declares None bytes of content, not {len(CONTENT)}"
    )


def test_no_checksum(scratch: Buffers | None) -> None:
    assert (
        refused(frame(write_checksum=False), scratch=scratch) == "the frame has no content checksum"
    )


def test_content_where_there_should_be_none(scratch: Buffers | None) -> None:
    assert refused(b"x", 0, scratch=scratch) == "1 bytes are stored for no content"
    assert (
        refused(frame(b""), 0, scratch=scratch)
        == f"{len(frame(b''))} bytes are stored for no content"
    )


@pytest.mark.parametrize("data", [b"", b"\x28", b"PK\x03\x04" + bytes(40)])
def test_what_is_no_frame(data: bytes, scratch: Buffers | None) -> None:
    assert refused(data, scratch=scratch) == "not a zstd frame"


def test_a_skippable_frame_first(scratch: Buffers | None) -> None:
    assert (
        refused(b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + frame(), scratch=scratch) == "not a zstd frame"
    )


def test_every_truncation(scratch: Buffers | None) -> None:
    whole = frame()
    for length in range(len(whole)):
        refused(whole[:length], scratch=scratch)


def test_every_flipped_bit(scratch: Buffers | None) -> None:
    whole = frame()
    for position in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        # A few bits of zstd's own carry nothing.
        with suppress(_zstd.FrameError):
            assert _zstd.decompress(bytes(damaged), len(CONTENT), scratch) == CONTENT


@pytest.mark.parametrize("behind", [b"\0", b"\0" * 100, frame(), frame()[:7]])
def test_bytes_behind_the_frame(behind: bytes, scratch: Buffers | None) -> None:
    refused(frame() + behind, scratch=scratch)


def test_more_content_than_declared(scratch: Buffers | None) -> None:
    """A frame whose header says less than its blocks hold is stopped, not followed."""
    honest = bytearray(frame(b"\0" * 300))
    at = bytes(honest).index((300 - 256).to_bytes(2, "little"))
    honest[at : at + 2] = (290 - 256).to_bytes(2, "little")
    refused(bytes(honest), 290, scratch=scratch)


def test_a_library_that_does_not_hold_content_against_what_is_declared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_zstd, "_stdlib", None)
    assert _zstd.decompress(frame(), len(CONTENT), Buffers(no_file)) == CONTENT
    library = SimpleNamespace(stream_reader=lambda _: BytesIO(CONTENT[:-1]))
    monkeypatch.setattr(_zstd._of_thread, "decompressor", library)
    why = refused(frame(), scratch=Buffers(no_file))
    assert why == "the frame has less content than it declares"


def test_a_frame_of_any_window(scratch: Buffers | None) -> None:
    content = bytes(130 << 20)
    parameters = zstandard.ZstdCompressionParameters(
        window_log=28, write_checksum=True, write_content_size=True
    )
    whole = zstandard.ZstdCompressor(compression_params=parameters).compress(content)
    assert zstandard.get_frame_parameters(whole).window_size > 1 << 27
    assert _zstd.decompress(whole, len(content), scratch) == content


def test_frames_of_every_kind_of_header_and_block(scratch: Buffers | None) -> None:
    rng = np.random.default_rng(0)
    for size in (1, 255, 256, 65_791, 65_792, 300_000):
        for content in (bytes(size), rng.bytes(size), rng.integers(0, 9, size, np.uint8).tobytes()):
            for level in (1, 19):
                maker = zstandard.ZstdCompressor(level=level, write_checksum=True)
                whole = maker.compress(content)
                assert _zstd.decompress(whole, size, scratch) == content
                stream = maker.compressobj(size=size)
                parts = stream.compress(content[: size // 2]) + stream.flush(
                    zstandard.COMPRESSOBJ_FLUSH_BLOCK
                )
                whole = parts + stream.compress(content[size // 2 :]) + stream.flush()
                assert _zstd.decompress(whole, size, scratch) == content
                refused(whole + b"\0", size, scratch)
                refused(whole[:-1], size, scratch)
