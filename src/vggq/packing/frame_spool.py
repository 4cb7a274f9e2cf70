"""Temporary storage for the entries of a packed file, on disk if they are large."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

MAX_IN_MEMORY: Final = 32_000_000


class FrameSpool:
    """Frames in order; identical frames are stored once.

    The header of a packed file precedes the frames but depends on all of them, so the frames are
    kept until then in an unnamed file, which disappears with the process.

    Args:
        folder: the folder for the file.
        max_in_memory: bytes that are kept in memory before the file is used; by default
            `MAX_IN_MEMORY`.

    Attributes:
        sizes: bytes of each stored frame.

    """

    def __init__(self, folder: Path, max_in_memory: int | None = None) -> None:
        limit = MAX_IN_MEMORY if max_in_memory is None else max_in_memory
        self._file = tempfile.SpooledTemporaryFile(limit, dir=str(folder))  # noqa: SIM115
        self._indices: dict[object, int] = {}
        self._offsets: list[int] = []
        self.sizes: list[int] = []

    def add(self, frame: bytes, kind: object) -> int:
        """Return the index of a frame; a frame with the same bytes and `kind` is reused."""
        key = (kind, hashlib.sha256(frame).digest())
        if key not in self._indices:
            self._indices[key] = len(self.sizes)
            self._offsets.append(self._file.tell())
            self._file.write(frame)
            self.sizes.append(len(frame))
        return self._indices[key]

    def read(self, index: int) -> bytes:
        """Return a stored frame."""
        self._file.seek(self._offsets[index])
        frame = self._file.read(self.sizes[index])
        self._file.seek(0, os.SEEK_END)
        return frame

    def copy_to(self, file: IO[bytes]) -> None:
        """Write all frames, one after the other."""
        self._file.seek(0)
        shutil.copyfileobj(self._file, file, 1 << 20)

    def close(self) -> None:
        """Delete the frames."""
        self._file.close()
