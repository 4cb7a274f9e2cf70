"""The form of a zstd frame, which is checked without decompressing the frame.

The libraries for zstd accept frames of other forms, and have different messages for damaged ones.
"""

from __future__ import annotations

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
    declared, end = _parse_header(frame)
    if declared != size:
        found = "no content size" if declared is None else f"{declared} bytes of content"
        raise FrameError(f"the zstd frame declares {found}, expected {size}")
    if _frame_end(frame, end) != len(frame):
        raise FrameError("the zstd frame does not end with its entry")


def _parse_header(frame: Buffer) -> tuple[int | None, int]:
    """Return the content size that a frame declares, if any, and the offset of its first block.

    https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1.1
    """
    descriptor = frame[4]
    single_segment = descriptor >> 5 & 1
    dictionary_id_size = (0, 1, 2, 4)[descriptor & 3]
    content_size_size = (single_segment, 2, 4, 8)[descriptor >> 6]
    begin = 5 + (not single_segment) + dictionary_id_size
    end = begin + content_size_size
    if not content_size_size or end > len(frame):
        return None, end
    # With two bytes, sizes from 256 on are declared.
    offset = 256 if content_size_size == 2 else 0
    return int.from_bytes(frame[begin:end], "little") + offset, end


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
