"""Write files that appear complete or not at all."""

from __future__ import annotations

import glob
import os
import secrets
import time
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Final

from ..errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

try:
    import fcntl
except ImportError:
    # Windows has no flock, and does not remove a file that another process has open.
    fcntl = None  # type: ignore[assignment]

_MAX_AGE_WITHOUT_LOCKS: Final = 24 * 3600


@contextmanager
def atomic_write(target: Path, scratch: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces `target` if the block succeeds, and is deleted if not.

    Missing folders are created. Readers of `target` see the old file or the new one. Temporary
    files that a killed process left behind are removed.

    Args:
        target: the file to write or to replace.
        scratch: the folder for the file until then, on the target's file system; by default the
            folder of the target.

    Raises:
        TargetError: the file cannot be written.

    """
    scratch = scratch or target.parent
    temporary = scratch / f".{target.name}.{secrets.token_hex(4)}.tmp"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch.mkdir(exist_ok=True)
        remove_leftovers(target, scratch)
        file = _create(temporary)
    except OSError as error:
        raise TargetError(f"cannot be written: {error.strerror}", path=target) from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:
                # Windows cannot rename an open file. Elsewhere the lock is kept until then.
                file.close()
            temporary.replace(target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise TargetError(f"cannot be written: {error.strerror}", path=target) from error
        raise


def remove_leftovers(target: Path, scratch: Path | None = None) -> None:
    """Remove temporary files of `target` that no process is writing."""
    # An unreadable folder or an impossible name means that there is nothing to remove.
    with suppress(OSError):
        for path in (scratch or target.parent).glob(f".{glob.escape(target.name)}.*.tmp"):
            with suppress(OSError):
                _remove_unused(path)


def _remove_unused(path: Path) -> None:
    if fcntl is None:
        path.unlink()
        return
    with path.open("rb") as file:
        if _is_unused(file):
            path.unlink()


def _create(path: Path) -> IO[bytes]:
    """Create a file that this process locks; the system unlocks it when the process ends."""
    while True:
        file = path.open("xb")
        if fcntl is not None:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
        # Another process may have removed the file before it was locked.
        if path.exists():
            return file
        file.close()


def _is_unused(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # Without locks, only the age shows that a file is abandoned.
        return time.time() - os.fstat(file.fileno()).st_mtime > _MAX_AGE_WITHOUT_LOCKS
    return True
