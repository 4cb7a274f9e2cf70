"""Decompression of one zstd frame, by the standard library or by the zstandard package."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ._zstd_frame import FrameError, check_form
from .errors import MissingDependencyError

if TYPE_CHECKING:
    from ._buffers import Buffer, Memory

# Any, because the module exists only since Python 3.14, and not in each build of it.
_stdlib: Any = None
if sys.version_info >= (3, 14):
    with suppress(ImportError):
        from compression import zstd as _stdlib

# RFC 8878: a block has up to 128 KiB of content. The smallest block with that much content takes
# four bytes: a header of three bytes, and one byte that is repeated.
_MAX_BLOCK_CONTENT: Final = 1 << 17
_MIN_BLOCK_SIZE: Final = 4
# Bytes to decompress at a time with the standard library: they stay in the processor's cache until
# they are copied.
_CHUNK: Final = 1 << 17

# Without the words of the library, which depend on the library and on its version.
_DAMAGED: Final = "the zstd frame is damaged"

_thread_local = threading.local()


def max_content_size(stored: int) -> int:
    """Return the maximum size of the content of a frame of `stored` bytes."""
    return stored // _MIN_BLOCK_SIZE * _MAX_BLOCK_CONTENT


def decompress(frame: Buffer, size: int, buffers: Memory | None = None) -> Buffer:
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
        MissingDependencyError: this Python has no zstd, and zstandard is not installed.

    """
    if size == 0:
        if frame:
            raise FrameError(f"an entry without content has {len(frame)} bytes, expected 0")
        return b""
    check_form(frame, size)
    if _stdlib is not None:
        return _decompress_with_stdlib(frame, size, buffers)
    return _decompress_with_zstandard(frame, size, buffers)


def _decompress_with_stdlib(frame: Buffer, size: int, buffers: Memory | None) -> Buffer:
    parameter = _stdlib.DecompressionParameter.window_log_max
    # The memory for a window never exceeds the content size, so the largest window is allowed.
    decompressor = _stdlib.ZstdDecompressor(options={parameter: parameter.bounds()[1]})
    try:
        if size > _CHUNK:
            return _decompress_in_chunks(decompressor, frame, _take_memory(buffers, size))
        # One byte more than declared, so that excess content is found.
        content: bytes = decompressor.decompress(frame, size + 1)
    except _stdlib.ZstdError as error:
        raise FrameError(_DAMAGED) from error
    _check_filled(len(content), size, ended=decompressor.eof)
    return content


def _decompress_in_chunks(decompressor: Any, frame: Buffer, out: memoryview) -> memoryview:
    """Decompress a frame into `out`, which it has to fill exactly.

    The standard library cannot decompress into memory of the caller. All content at once would
    take twice its memory, and its time on pages that the system has to clear.
    """
    view, begin, filled = memoryview(frame), 0, 0
    while filled <= len(out) and (begin < len(view) or not decompressor.needs_input):
        # The whole frame at once would be copied.
        end = begin + _CHUNK if decompressor.needs_input else begin
        # One byte more than declared, so that excess content is found.
        content = decompressor.decompress(view[begin:end], min(_CHUNK, len(out) - filled + 1))
        begin, room = end, out[filled:]
        filled += len(content)
        room[: len(content)] = content[: len(room)]
        if decompressor.eof:
            break
    _check_filled(filled, len(out), ended=decompressor.eof)
    return out


def _decompress_with_zstandard(frame: Buffer, size: int, buffers: Memory | None) -> Buffer:
    decompressor = getattr(_thread_local, "decompressor", None) or _create_decompressor()
    try:
        if buffers is None:
            content: bytes = decompressor.decompress(frame)
            return content
        out = buffers.take("content", size)
        with decompressor.stream_reader(frame) as reader:
            filled = reader.readinto(out)
    except _import_zstandard().ZstdError as error:
        raise FrameError(_DAMAGED) from error
    _check_filled(filled, size)
    return out


def _create_decompressor() -> Any:
    """Return the decompressor of this thread: creating one takes longer than a small frame."""
    zstandard = _import_zstandard()
    window = 1 << zstandard.WINDOWLOG_MAX
    _thread_local.decompressor = zstandard.ZstdDecompressor(max_window_size=window)
    return _thread_local.decompressor


def _import_zstandard() -> Any:
    try:
        import zstandard  # noqa: PLC0415 - not needed from Python 3.14 on
    except ImportError as error:
        raise MissingDependencyError(
            f"this Python has no zstd of its own, and zstandard cannot be imported: {error}; run "
            "`pip install zstandard`"
        ) from error
    return zstandard


def _take_memory(buffers: Memory | None, size: int) -> memoryview:
    return memoryview(bytearray(size)) if buffers is None else buffers.take("content", size)


def _check_filled(filled: int, size: int, *, ended: bool = True) -> None:
    """Check that a library gave the declared content, which it should have done itself."""
    if filled != size or not ended:
        problem = "more" if filled > size else "less"
        raise FrameError(f"the zstd frame has {problem} content than it declares")
