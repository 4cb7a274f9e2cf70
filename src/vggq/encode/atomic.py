"""Files that are there whole, or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from ..errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def atomic_write(target: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes `target`'s place when the block ends well, and is removed if not.

    Folders on the way are made. Readers of `target` see the old file or the new one.

    Raises:
        TargetError: the system lets nothing be written there.

    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = temporary.open("xb")
    except OSError as error:
        raise TargetError(f"{target} cannot be written: {error.strerror}") from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise TargetError(f"{target} cannot be written: {error.strerror}") from error
        raise
