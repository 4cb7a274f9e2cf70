"""Both branches: zstandard, and the standard library's zstd by way of its backport."""

from __future__ import annotations

from contextlib import suppress

import pytest
import zstandard
from backports import zstd as backport

from vggq import _zstd

CONTENT = bytes(range(200)) * 3 + b"\0" * 500


@pytest.fixture(params=["zstandard", "stdlib"], autouse=True)
def branch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_zstd, "_stdlib", backport if request.param == "stdlib" else None)


def frame(content: bytes = CONTENT, **options: bool) -> bytes:
    options = {"write_checksum": True} | options
    return zstandard.ZstdCompressor(level=1, **options).compress(content)  # type: ignore[arg-type]


def refused(data: bytes, size: int = len(CONTENT)) -> str:
    with pytest.raises(_zstd.FrameError) as caught:
        _zstd.decompress(data, size)
    return str(caught.value)


@pytest.mark.parametrize("content", [CONTENT, b"a", b"\0" * 1_000_000, b""])
def test_a_frame(content: bytes) -> None:
    assert _zstd.decompress(frame(content) if content else b"", len(content)) == content


def test_another_size_than_declared() -> None:
    for size in (len(CONTENT) - 1, len(CONTENT) + 1, 2**60):
        assert refused(frame(), size) == (
            f"the frame declares {len(CONTENT)} bytes of content, not {size}"
        )


def test_no_declared_size() -> None:
    assert refused(frame(write_content_size=False)) == (
        f"the frame declares None bytes of content, not {len(CONTENT)}"
    )


def test_no_checksum() -> None:
    assert refused(frame(write_checksum=False)) == "the frame has no content checksum"


def test_content_where_there_should_be_none() -> None:
    assert refused(b"x", 0) == "1 bytes are stored for no content"
    assert refused(frame(b""), 0) == f"{len(frame(b''))} bytes are stored for no content"


@pytest.mark.parametrize("data", [b"", b"\x28", b"PK\x03\x04" + bytes(40)])
def test_what_is_no_frame(data: bytes) -> None:
    assert refused(data) == "not a zstd frame"


def test_a_skippable_frame_first() -> None:
    assert refused(b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + frame()) == "not a zstd frame"


def test_every_truncation() -> None:
    whole = frame()
    for length in range(len(whole)):
        refused(whole[:length])


def test_every_flipped_bit() -> None:
    whole = frame()
    for position in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        # A few bits of zstd's own carry nothing.
        with suppress(_zstd.FrameError):
            assert _zstd.decompress(bytes(damaged), len(CONTENT)) == CONTENT


@pytest.mark.parametrize("behind", [b"\0", b"\0" * 100, frame(), frame()[:7]])
def test_bytes_behind_the_frame(behind: bytes) -> None:
    refused(frame() + behind)


def test_more_content_than_declared() -> None:
    """A frame whose header says less than its blocks hold is stopped, not followed."""
    honest = bytearray(frame(b"\0" * 300))
    at = bytes(honest).index((300 - 256).to_bytes(2, "little"))
    honest[at : at + 2] = (290 - 256).to_bytes(2, "little")
    refused(bytes(honest), 290)
