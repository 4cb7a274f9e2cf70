"""Write folders that appear complete or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Create a folder that gets the name `target` if the block succeeds, and is deleted if not.

    Missing parents are created.

    Args:
        target: the folder; it does not exist, or is empty.

    Yields:
        The path of the folder until then, beside `target`.

    Raises:
        TargetError: the target exists and is not an empty folder, or cannot be written.

    """
    _check_empty(target)
    final = target.absolute()
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if final.exists():
            # On Windows a folder cannot replace another one.
            final.rmdir()
        temporary.rename(final)
    except OSError as error:
        raise TargetError(f"cannot be written: {error.strerror}", path=target) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_folder(folder: Path) -> None:
    """Reject a folder in which no file can be created, before the work begins.

    Args:
        folder: the folder, which may not exist yet.

    Raises:
        TargetError: the folder cannot be written or created.

    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise TargetError("cannot be created: a file, not a folder", path=existing)
    if not os.access(existing, os.W_OK | os.X_OK):
        raise TargetError("cannot be written: no permission, or a read-only disk", path=existing)


def _check_empty(target: Path) -> None:
    """Raise TargetError if a path exists and is not an empty folder."""
    try:
        if target.is_dir():
            if any(target.iterdir()):
                raise TargetError("the folder is not empty; name a new one", path=target)
        elif os.path.lexists(target):
            raise TargetError("a file; name a new folder", path=target)
    except OSError as error:
        raise TargetError(f"cannot be read: {error.strerror}", path=target) from error
