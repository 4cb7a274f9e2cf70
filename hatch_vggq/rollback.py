"""What a build writes over, so that one that fails can put it back."""

from __future__ import annotations

import io
import os
import shutil
from typing import IO, TYPE_CHECKING

from vggq.packing.atomic_file import atomic_write

if TYPE_CHECKING:
    from pathlib import Path


class Undo:
    """A file as it was before it is written anew, and the way back to that."""

    def __init__(self, target: Path, scratch: Path) -> None:
        self._target = target
        self._scratch = scratch
        self._before = _open(target) if target.is_file() else None
        self._written: tuple[int, int] | None = None

    def note(self) -> None:
        """Remember what is there now as this build's own."""
        self._written = _identity(self._target)

    def back(self) -> None:
        """Put back what was there, unless another build has written since."""
        if self._written is None or _identity(self._target) != self._written:
            return
        if self._before is None:
            self._target.unlink(missing_ok=True)
            return
        with atomic_write(self._target, self._scratch) as file:
            shutil.copyfileobj(self._before, file)

    def close(self) -> None:
        """Let go of what was there."""
        if self._before is not None:
            self._before.close()


def _open(path: Path) -> IO[bytes]:
    # A file that is open outlives its name, but for Windows, where it cannot be replaced.
    return io.BytesIO(path.read_bytes()) if os.name == "nt" else path.open("rb")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
