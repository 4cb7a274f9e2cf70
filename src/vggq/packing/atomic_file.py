"""Files that are there whole, or not at all."""

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
    # Windows, where nobody can remove a file that another has open.
    fcntl = None  # type: ignore[assignment]

_SECONDS_WITHOUT_LOCKS: Final = 24 * 3600


@contextmanager
def atomic_write(target: Path, scratch: Path | None = None) -> Iterator[IO[bytes]]:
    """A binary file that takes `target`'s place when the block ends well, and is removed if not.

    Folders on the way are made. Readers of `target` see the old file or the new one. What a
    killed process left of an earlier attempt is removed.

    Args:
        target: the file to write or to replace.
        scratch: where the file is until then, on the target's file system; its folder by default.

    Raises:
        TargetError: the system lets nothing be written there.

    """
    scratch = scratch or target.parent
    temporary = scratch / f".{target.name}.{secrets.token_hex(4)}.tmp"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch.mkdir(exist_ok=True)
        remove_leftovers(target, scratch)
        file = _create(temporary)
    except OSError as error:
        raise TargetError(f"{target} cannot be written: {error.strerror}") from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:
                # An open file cannot be moved there. Elsewhere it is locked until it is in place.
                file.close()
            temporary.replace(target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise TargetError(f"{target} cannot be written: {error.strerror}") from error
        raise


def remove_leftovers(target: Path, scratch: Path | None = None) -> None:
    """Remove the temporary files of `target` that no process is writing any more."""
    # Where the system lets nobody look, or no such name can be, there is no litter.
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
    """A new file that is this process's; the system lets go of it when the process ends."""
    while True:
        file = path.open("xb")
        if fcntl is not None:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
        # Another build may have taken it for litter before it was locked.
        if path.exists():
            return file
        file.close()


def _is_unused(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # A file system without locks: the age alone has to tell.
        return time.time() - os.fstat(file.fileno()).st_mtime > _SECONDS_WITHOUT_LOCKS
    return True
