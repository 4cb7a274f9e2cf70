"""One function over whichever zstd there is: the standard library's, or zstandard."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._buffers import Buffer, Buffers

# Any, for a module that only later Pythons have.
_stdlib: Any = None
if sys.version_info >= (3, 14):
    from compression import zstd as _stdlib

_MAGIC = b"\x28\xb5\x2f\xfd"
_CHECKSUM_FLAG = 0x04
# A block of one byte many times.
_REPEATED = 1

_of_thread = threading.local()


# RFC 8878: a block holds at most 128 KiB, and takes three bytes of header and one that it repeats.
_BLOCK_CONTENT = 1 << 17
# Any window: no more memory is taken for it than for the content, which was held against the file.
_WINDOW_LOG = 31
_LEAST_BLOCK = 4


class FrameError(ValueError):
    """A zstd frame is damaged or not of the form that the format asks for."""


def capacity(stored: int) -> int:
    """The most bytes of content that a frame of `stored` bytes can have."""
    return stored // _LEAST_BLOCK * _BLOCK_CONTENT


def decompress(frame: Buffer, size: int, buffers: Buffers | None = None) -> Buffer:
    """Decompress exactly one zstd frame.

    Args:
        frame: one frame with a declared content size and a content checksum, and no byte more;
            no bytes at all where `size` is 0 (zstandard checks nothing in a frame that
            declares no content).
        size: the content size in bytes that the frame has to declare.
        buffers: memory that may be decompressed into.

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
    if _stdlib is not None:
        return _with_stdlib(frame, size)
    return _with_zstandard(frame, size, buffers)


def _with_stdlib(frame: Buffer, size: int) -> bytes:
    try:
        _check_declared(_stdlib.get_frame_info(frame).decompressed_size, size)
        window = {_stdlib.DecompressionParameter.window_log_max: _WINDOW_LOG}
        decompressor = _stdlib.ZstdDecompressor(options=window)
        # One byte of room more, so that content beyond what is declared shows.
        content: bytes = decompressor.decompress(frame, size + 1)
    except _stdlib.ZstdError as error:
        raise FrameError(str(error)) from error
    if not decompressor.eof:
        raise FrameError("the frame does not end where it should")
    if decompressor.unused_data:
        raise FrameError("there are bytes behind the frame")
    return content


def _with_zstandard(frame: Buffer, size: int, buffers: Buffers | None) -> Buffer:
    import zstandard  # noqa: PLC0415 - Python 3.14 has no need of it

    try:
        declared = zstandard.frame_content_size(frame)
        _check_declared(None if declared < 0 else declared, size)
        # Making one takes longer than decompressing a small frame.
        if not hasattr(_of_thread, "decompressor"):
            _of_thread.decompressor = zstandard.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG)
        if buffers is not None:
            return _into(buffers, frame, size)
        content: bytes = _of_thread.decompressor.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise FrameError(str(error)) from error
    return content


def _into(buffers: Buffers, frame: Buffer, size: int) -> memoryview:
    """Decompress into memory that is there, which zstandard does as a stream only."""
    # A stream that is cut short, or goes on, would be no error.
    if _end(frame) != len(frame):
        raise FrameError("the frame does not end where it should")
    content = buffers.take("content", size)
    with _of_thread.decompressor.stream_reader(frame) as reader:
        if reader.readinto(content) != size:
            raise FrameError("the frame has less content than it declares")
    return content


def _end(frame: Buffer) -> int:
    """Where a frame with a checksum ends, by the sizes of its blocks; -1 where it has no last one.

    https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1
    """
    descriptor = frame[4]
    single = descriptor >> 5 & 1
    at = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3] + (single, 2, 4, 8)[descriptor >> 6]
    last = 0
    while not last and at + 3 <= len(frame):
        block = int.from_bytes(frame[at : at + 3], "little")
        last, kind = block & 1, block >> 1 & 3
        at += 3 + (1 if kind == _REPEATED else block >> 3)
    return at + 4 if last else -1


def _check_declared(declared: int | None, size: int) -> None:
    if declared != size:
        raise FrameError(f"the frame declares {declared} bytes of content, not {size}")
