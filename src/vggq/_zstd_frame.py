"""The form of a zstd frame, which is checked without decompressing the frame.

The libraries for zstd accept frames of other forms, and have different messages for damaged ones.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._buffers import Buffer

_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_CHECKSUM_FLAG: Final = 0x04
_CHECKSUM_SIZE: Final = 4
_BLOCK_HEADER_SIZE: Final = 3
_RLE_BLOCK: Final = 1


class FrameError(ValueError):
    """A zstd frame is damaged, or is not of the form that docs/format.md requires."""


def check_form(frame: Buffer, size: int) -> None:
    """Check that a frame has the form that docs/format.md requires.

    Args:
        frame: one frame, and nothing after it.
        size: the content size in bytes that the frame has to declare.

    Raises:
        FrameError: the frame has another form.

    """
    if frame[:4] != _MAGIC:
        raise FrameError("not a zstd frame")
    if not (frame[4:5] or b"\0")[0] & _CHECKSUM_FLAG:
        raise FrameError("the zstd frame has no content checksum")
    begin, end, least = _size_field(frame[4])
    is_declared = begin < end <= len(frame)
    declared = int.from_bytes(frame[begin:end], "little") + least if is_declared else None
    if declared != size:
        found = "no content size" if declared is None else f"{declared} bytes of content"
        raise FrameError(f"the zstd frame declares {found}, expected {size}")
    if _frame_end(frame, end) != len(frame):
        raise FrameError("the zstd frame does not end with its entry")


@cache
def _size_field(descriptor: int) -> tuple[int, int, int]:
    """Return where a frame declares its content size, if it does, by the first byte of its header.

    https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1.1

    Returns:
        The offset of the field; the offset of its end, where the first block begins; and the size
        that a field of zeros declares.

    """
    single_segment = descriptor >> 5 & 1
    dictionary_id_size = (0, 1, 2, 4)[descriptor & 3]
    content_size_size = (single_segment, 2, 4, 8)[descriptor >> 6]
    begin = 5 + (not single_segment) + dictionary_id_size
    return begin, begin + content_size_size, 256 if content_size_size == 2 else 0


def _frame_end(frame: Buffer, offset: int) -> int:
    """Return the offset at which a frame with a checksum ends; -1 if it has no last block.

    The offset is calculated from the sizes of the blocks, of which the first is at `offset`:
    https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1.2
    """
    is_last = 0
    while not is_last and offset + _BLOCK_HEADER_SIZE <= len(frame):
        header = int.from_bytes(frame[offset : offset + _BLOCK_HEADER_SIZE], "little")
        is_last, kind = header & 1, header >> 1 & 3
        offset += _BLOCK_HEADER_SIZE + (1 if kind == _RLE_BLOCK else header >> 3)
    return offset + _CHECKSUM_SIZE if is_last else -1
