"""A part of a file as a file."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import WriteableBuffer


class FileWindow(io.RawIOBase):
    """A part of a file as a seekable file, which HDF5 can read without a copy in memory."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._start = start
        self._size = size
        self._position = 0

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        # h5py ignores the number of bytes that were read.
        if self._position + len(view) > self._size:
            raise OSError("a read beyond the end of the weights")
        self._file.seek(self._start + self._position)
        done = 0
        # The system reads at most 2 GiB at a time.
        while done < len(view) and (count := self._file.readinto(view[done:])):
            done += count
        self._position += done
        return done

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()
