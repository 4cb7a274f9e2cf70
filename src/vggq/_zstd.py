"""One function over whichever zstd there is: the standard library's, or zstandard."""

from __future__ import annotations

import sys
from typing import Any

# Any, for a module that only later Pythons have.
_stdlib: Any = None
if sys.version_info >= (3, 14):
    from compression import zstd as _stdlib

_MAGIC = b"\x28\xb5\x2f\xfd"
_CHECKSUM_FLAG = 0x04


# RFC 8878: a block holds at most 128 KiB, and takes three bytes of header and one that it repeats.
_BLOCK_CONTENT = 1 << 17
_LEAST_BLOCK = 4


class FrameError(ValueError):
    """A zstd frame is damaged or not of the form that the format asks for."""


def capacity(stored: int) -> int:
    """The most bytes of content that a frame of `stored` bytes can have."""
    return stored // _LEAST_BLOCK * _BLOCK_CONTENT


def decompress(frame: bytes, size: int) -> bytes:
    """Decompress exactly one zstd frame.

    Args:
        frame: one frame with a declared content size and a content checksum, and no byte more;
            no bytes at all where `size` is 0 (zstandard checks nothing in a frame that
            declares no content).
        size: the content size in bytes that the frame has to declare.

    Raises:
        FrameError: the frame is anything else. Nothing of `size` is allocated before the
            frame's own header has been held against it.

    """
    if size == 0:
        if frame:
            raise FrameError(f"{len(frame)} bytes are stored for no content")
        return b""
    if frame[:4] != _MAGIC:
        raise FrameError("not a zstd frame")
    if not (frame[4:5] or b"\0")[0] & _CHECKSUM_FLAG:
        raise FrameError("the frame has no content checksum")
    return _with_zstandard(frame, size) if _stdlib is None else _with_stdlib(frame, size)


def _with_stdlib(frame: bytes, size: int) -> bytes:
    try:
        _check_declared(_stdlib.get_frame_info(frame).decompressed_size, size)
        decompressor = _stdlib.ZstdDecompressor()
        # One byte of room more, so that content beyond what is declared shows.
        content: bytes = decompressor.decompress(frame, size + 1)
    except _stdlib.ZstdError as error:
        raise FrameError(str(error)) from error
    if not decompressor.eof:
        raise FrameError("the frame does not end where it should")
    if decompressor.unused_data:
        raise FrameError("there are bytes behind the frame")
    return content


def _with_zstandard(frame: bytes, size: int) -> bytes:
    import zstandard  # noqa: PLC0415 - Python 3.14 has no need of it

    try:
        declared = zstandard.frame_content_size(frame)
        _check_declared(None if declared < 0 else declared, size)
        return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise FrameError(str(error)) from error


def _check_declared(declared: int | None, size: int) -> None:
    if declared != size:
        raise FrameError(f"the frame declares {declared} bytes of content, not {size}")
