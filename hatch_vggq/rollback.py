"""Restoring the packed file that a failed build has replaced."""

from __future__ import annotations

import io
import itertools
import os
import shutil
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from vggq.errors import TargetError
from vggq.packing import atomic_write

if TYPE_CHECKING:
    from pathlib import Path


class Rollback:
    """The previous content of a packed file, kept until the build has succeeded.

    Args:
        target: the packed file that is about to be written.
        scratch: the folder for temporary files, below that of the target.

    """

    def __init__(self, target: Path, scratch: Path) -> None:
        self._target = target
        self._scratch = scratch
        folders = (scratch, *target.parents)
        self._new_folders = [*itertools.takewhile(lambda folder: not folder.exists(), folders)]
        self._previous = _open_previous(target) if target.is_file() else None
        self._written: tuple[int, int] | None = None

    def mark_written(self) -> None:
        """Record the current file as the one that this build wrote."""
        self._written = _identify_file(self._target)

    def restore(self) -> None:
        """Restore the previous content, unless another build has replaced the file since.

        Folders that did not exist before are removed if they are empty.

        Raises:
            TargetError: the previous content cannot be written; the packed file is removed then.

        """
        if self._written is not None and _identify_file(self._target) == self._written:
            self._restore_file()
        for folder in self._new_folders:
            with suppress(OSError):
                folder.rmdir()

    def release(self) -> None:
        """Close the previous content; `restore` must not be called afterwards."""
        if self._previous is not None:
            self._previous.close()

    def _restore_file(self) -> None:
        if self._previous is None:
            self._target.unlink()
            return
        try:
            self._write(self._previous)
        except TargetError:
            # On a full disk, the previous file may fit into the place of the new one.
            self._target.unlink()
            self._write(self._previous)

    def _write(self, previous: IO[bytes]) -> None:
        previous.seek(0)
        with atomic_write(self._target, self._scratch) as file:
            shutil.copyfileobj(previous, file)


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
