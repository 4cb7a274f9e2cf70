"""The format of a source, which may be a folder, and its files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from ...errors import OptionError
from ._registry import check_fetched, identify_file_format
from ._source import ReadOptions
from ._unsupported import unsupported_by_location
from .folder import folder_format, list_folder_requirements

if TYPE_CHECKING:
    from pathlib import Path

    from ._source import Format

_DEFAULT: Final = ReadOptions()
_FOR_FOLDERS_ONLY: Final = ("include", "exclude")


def identify_format(path: Path, read_options: ReadOptions = _DEFAULT) -> Format:
    """Return the format of a source: that of a folder, or the one of the file's first bytes.

    Args:
        path: the source. If it is a file, its suffix must agree with its content.
        read_options: of which `include` and `exclude` select the files of a folder.

    Raises:
        OptionError: patterns are given for a source that is no folder.
        SourceError: the file is missing or unreadable, its format is not supported, or its
            suffix belongs to another format.

    """
    # Of the methods of `Path`, some raise errors for some paths.
    if os.path.isdir(path) and unsupported_by_location(path) is None:  # noqa: PTH112
        return folder_format(read_options)
    fmt = identify_file_format(path)
    given = [name for name in _FOR_FOLDERS_ONLY if getattr(read_options, name)]
    if given:
        problem = "only valid if the source is a folder"
        raise OptionError([(name, problem) for name in given])
    return fmt


def list_source_files(path: Path, read_options: ReadOptions = _DEFAULT) -> list[Path]:
    """Return all files of a source: the file itself, then its shards or external data.

    Raises:
        OptionError: a pattern matches no file of a folder.
        SourceError: as `identify_format`; or the file is too damaged to know the others, or
            one of them is missing.

    """
    files = identify_format(path, read_options).list_files(path)
    for file in files[1:]:
        check_fetched(file)
    return files


def list_requirements(path: Path, read_options: ReadOptions = _DEFAULT) -> set[str]:
    """Return the requirements of the libraries that read a source, besides numpy.

    Raises:
        OptionError, SourceError: as `identify_format`.

    """
    fmt = identify_format(path, read_options)
    if fmt.is_folder:
        return list_folder_requirements(path, read_options)
    return {fmt.requirement} if fmt.requirement else set()
