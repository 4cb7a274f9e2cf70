"""Restoring the packed file that a failed build has replaced."""

from __future__ import annotations

import io
import os
import shutil
from typing import IO, TYPE_CHECKING

from vggq.packing import atomic_write

if TYPE_CHECKING:
    from pathlib import Path


class Rollback:
    """The previous content of a packed file, kept until the build has succeeded.

    Args:
        target: the packed file that is about to be written.
        scratch: the folder for temporary files.

    """

    def __init__(self, target: Path, scratch: Path) -> None:
        self._target = target
        self._scratch = scratch
        self._previous = _open_previous(target) if target.is_file() else None
        self._written: tuple[int, int] | None = None

    def mark_written(self) -> None:
        """Record the current file as the one that this build wrote."""
        self._written = _identify_file(self._target)

    def restore(self) -> None:
        """Restore the previous content, unless another build has replaced the file since."""
        if self._written is None or _identify_file(self._target) != self._written:
            return
        if self._previous is None:
            self._target.unlink(missing_ok=True)
            return
        with atomic_write(self._target, self._scratch) as file:
            shutil.copyfileobj(self._previous, file)

    def release(self) -> None:
        """Close the previous content; `restore` must not be called afterwards."""
        if self._previous is not None:
            self._previous.close()


def _open_previous(path: Path) -> IO[bytes]:
    # An open file stays readable after it has been replaced. On Windows it could not be replaced.
    return io.BytesIO(path.read_bytes()) if os.name == "nt" else path.open("rb")


def _identify_file(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file, or None if there is no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
