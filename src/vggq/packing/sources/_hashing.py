"""Digests of checkpoints."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from ...errors import SourceError
from ._registry import list_source_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ._source import Source


def hash_source(path: Path) -> str:
    """Return the digest of a checkpoint, in hexadecimal.

    Raises:
        SourceError: as `list_source_files`, or a file cannot be read.

    """
    return hash_files(list_source_files(path))


def hash_files(files: Sequence[Path]) -> str:
    """Return the digest of a checkpoint's files, in hexadecimal.

    The digest of a single file is its SHA-256. The digest of several files is the SHA-256 of a
    list in the format of sha256sum, one line `<SHA-256>  <relative path>` for each file.

    Args:
        files: the files, the one that names the others first.

    Raises:
        SourceError: a file cannot be read.

    """
    folder = files[0].parent
    if len(files) == 1:
        return hash_file(files[0])
    lines = [
        f"{hash_file(file)}  {os.path.relpath(file, folder)}\n".replace(os.sep, "/")
        for file in files
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        SourceError: the file cannot be read.

    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise SourceError("no such file", path=path) from error
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}", path=path) from error


def check_unchanged(source: Source) -> None:
    """Check that the files of a checkpoint are still those that were opened.

    Raises:
        SourceError: a file changed, or cannot be read any more.

    """
    # The other files are the same ones as long as the first does not change.
    if hash_files(source.files) != source.sha256:
        raise SourceError(
            "changed while it was read; wait until it is complete, then build again",
            path=source.files[0],
        )
