"""A temporary folder that nobody else can read, removed at the end of a block."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def temporary_folder(parent: str | os.PathLike[str] | None) -> Iterator[Path]:
    """Create a folder with mode 0700, and remove it after the block.

    A process that was forked in the block does not remove the folder. What cannot be removed, since
    a file is still open on Windows, is removed when the interpreter ends.

    Args:
        parent: the folder to create it in; None for the system's folder for temporary files.

    Raises:
        OSError: it cannot be created.

    """
    folder = Path(tempfile.mkdtemp(prefix="vggq-", dir=parent)).absolute()
    owner = os.getpid()
    try:
        yield folder
    finally:
        if os.getpid() == owner:
            _remove(folder)


def _remove(folder: Path) -> None:
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    remove()
    if os.path.lexists(folder):
        atexit.register(remove)
