"""The bytes of a model's files as a packed file restores them."""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from .._buffers import Buffer
from .model_layout import read_range

if TYPE_CHECKING:
    from .model_layout import Gap, MemberLayout

TensorBytes = Callable[[int], Buffer]
"""Returns the restored bytes of a tensor in the dtype of its source, by the tensor's index."""

Chunk = tuple["Gap | None", Buffer]
"""A gap with its bytes, or some bytes of the rest."""

_CRC_SIZE: Final = 4


@dataclass(frozen=True, slots=True)
class RestoredFile:
    """A file of a model, read as a stream with the restored bytes of its tensors.

    Attributes:
        layout: the file.
        tensor_bytes: returns the restored bytes of a tensor.
        patches: offsets in ascending order, and the four bytes that replace those of the source.

    """

    layout: MemberLayout
    tensor_bytes: TensorBytes
    patches: tuple[tuple[int, bytes], ...] = ()

    def with_checksums(self) -> RestoredFile:
        """Return the file with the CRC-32s over its restored bytes."""
        patches = {
            offset: self._crc(checksum.start, checksum.size).to_bytes(_CRC_SIZE, "little")
            for checksum in self.layout.checksums
            for offset in checksum.fields
        }
        return replace(self, patches=tuple(sorted(patches.items())))

    def chunks(self) -> Iterator[Chunk]:
        """Yield all bytes in order."""
        return self._range(0, self.layout.size)

    def _crc(self, start: int, size: int) -> int:
        crc = 0
        for _, content in self._range(start, start + size):
            crc = zlib.crc32(content, crc)
        return crc

    def _range(self, start: int, end: int) -> Iterator[Chunk]:
        gaps = self.layout.gaps
        position = start
        # The gap before the first one that begins in the range may reach into it.
        first = bisect_right(gaps, start, key=lambda gap: gap.start) - 1
        stop_index = bisect_left(gaps, end, key=lambda gap: gap.start)
        for gap in gaps[max(first, 0) : stop_index]:
            begin, stop = max(gap.start, start), min(gap.start + gap.size, end)
            if begin < stop:
                yield from self._rest(position, begin)
                content = memoryview(self.tensor_bytes(gap.tensor)).cast("B")
                yield gap, content[begin - gap.start : stop - gap.start]
                position = stop
        yield from self._rest(position, end)

    def _rest(self, start: int, end: int) -> Iterator[Chunk]:
        for chunk in read_range(self.layout.file, start, end - start):
            yield None, self._patch(start, chunk)
            start += len(chunk)

    def _patch(self, start: int, chunk: bytes) -> bytes:
        """Return the bytes at an offset, with those that are replaced."""
        first = bisect_right(self.patches, start - _CRC_SIZE, key=lambda patch: patch[0])
        end = bisect_left(self.patches, start + len(chunk), key=lambda patch: patch[0])
        if first == end:
            return chunk
        changed = bytearray(chunk)
        for offset, content in self.patches[first:end]:
            for index, value in enumerate(content, offset - start):
                if 0 <= index < len(chunk):
                    changed[index] = value
        return bytes(changed)
