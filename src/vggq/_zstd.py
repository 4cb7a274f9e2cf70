"""Decompression of one zstd frame, by the standard library or by the zstandard package."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ._buffers import Buffer, Buffers

# Any, because the module exists only since Python 3.14.
_stdlib: Any = None
if sys.version_info >= (3, 14):
    from compression import zstd as _stdlib

_FRAME_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_CHECKSUM_FLAG: Final = 0x04
# RFC 8878: a block has up to 128 KiB of content. The smallest block with that much content takes
# four bytes: a header of three bytes, and one byte that is repeated.
_RLE_BLOCK: Final = 1
_MAX_BLOCK_CONTENT: Final = 1 << 17
_MIN_BLOCK_SIZE: Final = 4
# The largest window of the format. The memory for a window never exceeds the content size, which is
# validated first.
_MAX_WINDOW_LOG: Final = 31

_thread_local = threading.local()


class FrameError(ValueError):
    """A zstd frame is damaged, or is not of the form that docs/format.md requires."""


def max_content_size(stored: int) -> int:
    """Return the maximum size of the content of a frame of `stored` bytes."""
    return stored // _MIN_BLOCK_SIZE * _MAX_BLOCK_CONTENT


def decompress(frame: Buffer, size: int, buffers: Buffers | None = None) -> Buffer:
    """Decompress exactly one zstd frame.

    Nothing is allocated for the content before the content size in the frame was compared with
    `size`.

    Args:
        frame: one frame with a declared content size and a content checksum, and nothing after
            it; no bytes at all if `size` is 0, since zstandard validates nothing in a frame that
            declares no content.
        size: the content size in bytes that the frame has to declare.
        buffers: if given, memory to decompress into.

    Raises:
        FrameError: the frame is damaged or has another form.

    """
    if size == 0:
        if frame:
            raise FrameError(f"an entry without content has {len(frame)} bytes, expected 0")
        return b""
    if frame[:4] != _FRAME_MAGIC:
        raise FrameError("not a zstd frame")
    if not (frame[4:5] or b"\0")[0] & _CHECKSUM_FLAG:
        raise FrameError("the zstd frame has no content checksum")
    if _stdlib is not None:
        return _decompress_with_stdlib(frame, size)
    return _decompress_with_zstandard(frame, size, buffers)


def _decompress_with_stdlib(frame: Buffer, size: int) -> bytes:
    try:
        _check_declared(_stdlib.get_frame_info(frame).decompressed_size, size)
        window = {_stdlib.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG}
        decompressor = _stdlib.ZstdDecompressor(options=window)
        # One byte more than declared, so that excess content prevents `eof`.
        content: bytes = decompressor.decompress(frame, size + 1)
    except _stdlib.ZstdError as error:
        raise FrameError(str(error)) from error
    if not decompressor.eof:
        raise FrameError("the zstd frame does not end with its entry")
    if decompressor.unused_data:
        raise FrameError("the entry has bytes after its zstd frame")
    return content


def _decompress_with_zstandard(frame: Buffer, size: int, buffers: Buffers | None) -> Buffer:
    import zstandard  # noqa: PLC0415 - not needed from Python 3.14 on

    try:
        declared = zstandard.frame_content_size(frame)
        _check_declared(None if declared < 0 else declared, size)
        # Creating a decompressor takes longer than decompressing a small frame.
        if not hasattr(_thread_local, "decompressor"):
            _thread_local.decompressor = zstandard.ZstdDecompressor(
                max_window_size=1 << _MAX_WINDOW_LOG
            )
        if buffers is not None:
            return _decompress_into_buffer(buffers, frame, size)
        content: bytes = _thread_local.decompressor.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise FrameError(str(error)) from error
    return content


def _decompress_into_buffer(buffers: Buffers, frame: Buffer, size: int) -> memoryview:
    """Decompress into a reused buffer, for which zstandard only has its stream reader."""
    # The stream reader accepts truncated frames, and bytes after the frame.
    if _frame_end(frame) != len(frame):
        raise FrameError("the zstd frame does not end with its entry")
    content = buffers.take("content", size)
    with _thread_local.decompressor.stream_reader(frame) as reader:
        if reader.readinto(content) != size:
            raise FrameError("the zstd frame has less content than it declares")
    return content


def _frame_end(frame: Buffer) -> int:
    """Return the offset at which a frame with a checksum ends; -1 if it has no last block.

    The offset is calculated from the sizes of the blocks:
    https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1
    """
    descriptor = frame[4]
    single_segment = descriptor >> 5 & 1
    dictionary_id_size = (0, 1, 2, 4)[descriptor & 3]
    content_size_size = (single_segment, 2, 4, 8)[descriptor >> 6]
    offset = 5 + (not single_segment) + dictionary_id_size + content_size_size
    is_last = 0
    while not is_last and offset + 3 <= len(frame):
        header = int.from_bytes(frame[offset : offset + 3], "little")
        is_last, kind = header & 1, header >> 1 & 3
        offset += 3 + (1 if kind == _RLE_BLOCK else header >> 3)
    return offset + 4 if is_last else -1


def _check_declared(declared: int | None, size: int) -> None:
    if declared != size:
        found = "no content size" if declared is None else f"{declared} bytes of content"
        raise FrameError(f"the zstd frame declares {found}, expected {size}")
