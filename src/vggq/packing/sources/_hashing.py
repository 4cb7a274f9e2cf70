"""Digests of checkpoints."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from ...errors import SourceError
from ._identification import identify_format, list_source_files
from ._source import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ._source import Source

_DEFAULT: Final = ReadOptions()


def hash_source(path: Path, read_options: ReadOptions = _DEFAULT) -> str:
    """Return the digest of a source, in hexadecimal.

    Raises:
        OptionError, SourceError: as `list_source_files`, or a file cannot be read.

    """
    fmt = identify_format(path, read_options)
    files = list_source_files(path, read_options)
    if fmt.is_folder:
        return hash_folder(path, files, fmt.list_empty_folders(path))
    return hash_files(files)


def hash_folder(root: Path, files: Sequence[Path], folders: Sequence[str]) -> str:
    """Return the digest of a folder, in hexadecimal.

    It is the SHA-256 of a list in the format of sha256sum, one line `<SHA-256>  <relative path>`
    for each file. An empty folder is a file without bytes whose path ends in a slash.

    Args:
        root: the folder.
        files: its files, in order.
        folders: the paths of the empty folders in it, in order.

    Raises:
        SourceError: a file cannot be read.

    """
    empty = hashlib.sha256().hexdigest()
    lines = [*_lines_of(root, files), *(f"{empty}  {path}/\n" for path in folders)]
    return _hash_text(lines)


def hash_files(files: Sequence[Path]) -> str:
    """Return the digest of a checkpoint's files, in hexadecimal.

    The digest of a single file is its SHA-256. The digest of several files is the SHA-256 of a
    list in the format of sha256sum, one line `<SHA-256>  <relative path>` for each file.

    Args:
        files: the files, the one that names the others first.

    Raises:
        SourceError: a file cannot be read.

    """
    if len(files) == 1:
        return hash_file(files[0])
    return _hash_text(_lines_of(files[0].parent, files))


def _lines_of(folder: Path, files: Sequence[Path]) -> list[str]:
    return [
        f"{hash_file(file)}  {os.path.relpath(file, folder)}\n".replace(os.sep, "/")
        for file in files
    ]


def _hash_text(lines: Sequence[str]) -> str:
    # Names may have bytes that are no UTF-8.
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


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


def check_unchanged(source: Source, read_options: ReadOptions) -> None:
    """Check that the files of a checkpoint are still those that were opened.

    Args:
        source: the checkpoint.
        read_options: the options with which it was opened.

    Raises:
        OptionError: a pattern matches no file of the folder any more.
        SourceError: a file changed, or cannot be read any more; or the folder has other files.

    """
    if source.root is None:
        # The other files are the same ones as long as the first does not change.
        path, sha256 = source.files[0], hash_files(source.files)
    else:
        path, sha256 = source.root, hash_source(source.root, read_options)
    if sha256 != source.sha256:
        raise SourceError(
            "changed while it was read; wait until it is complete, then build again", path=path
        )
