"""Open a checkpoint of any supported format."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..._fields import is_text
from ...errors import SourceError
from ._gaps import separate_tensors
from ._hashing import hash_files, hash_folder
from ._identification import identify_format
from ._restore_option import check_members, resolve_restore
from ._selection import select_tensors
from ._source import ReadOptions, Source, natural_sort_key

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from ._source import Contents, Format, SourceTensor

_DEFAULT_READ_OPTIONS: Final = ReadOptions()


@contextmanager
def open_source(
    path: str | os.PathLike[str], read_options: ReadOptions = _DEFAULT_READ_OPTIONS
) -> Iterator[Source]:
    """Open a checkpoint; its tensors can be read while the block lasts.

    Args:
        path: the file or folder.
        read_options: layout, state dict, and tensors to leave out and to rename.

    Raises:
        OptionError: a pattern matches no tensor.
        SourceError: the file cannot be read with these options, a tensor cannot be packed, or two
            tensors get the same name.
        MissingDependencyError: the library that reads the format is not installed.

    """
    path = Path(path)
    fmt = identify_format(path, read_options)
    # Hashed before anything is read, so that `check_unchanged` covers all that was read.
    source = _list_and_hash(path, fmt)
    read_options = resolve_restore(path, fmt, read_options)
    with fmt.open(path, read_options) as contents:
        source = replace(source, chosen_key=contents.chosen_key, remarks=contents.remarks)
        if read_options.restore == "model":
            found = _add_model(source, contents)
        else:
            found = replace(source, tensors=_select_tensors(path, contents.tensors, read_options))
        _check_names(path, found.tensors)
        yield replace(found, tensors=sorted(found.tensors, key=natural_sort_key))


def _list_and_hash(path: Path, fmt: Format) -> Source:
    """Return a source with its files and its digest, but without tensors."""
    files = tuple(fmt.list_files(path))
    if not fmt.is_folder:
        return Source(fmt.name, hash_files(files), [], files=files)
    folders = tuple(fmt.list_empty_folders(path))
    sha256 = hash_folder(path, files, folders)
    return Source(fmt.name, sha256, [], files=files, root=path, folders=folders)


def _add_model(source: Source, contents: Contents) -> Source:
    """Return the source with the tensors whose bytes can be replaced in its files."""
    check_members(source)
    source = replace(source, restore="model", checksums=contents.checksums, copies=contents.copies)
    tensors, kept = separate_tensors(contents.tensors, source.checksums, source.restored_files)
    return replace(source, tensors=tensors, kept=tuple(kept))


def _select_tensors(
    path: Path, tensors: Sequence[SourceTensor], read_options: ReadOptions
) -> list[SourceTensor]:
    try:
        selected = select_tensors(tensors, read_options)
    except SourceError as error:
        raise error.locate(path=path) from None
    if not selected:
        reason = "`drop` leaves no tensors" if tensors else "contains no tensors"
        raise SourceError(reason, path=path)
    return selected


def _check_names(path: Path, tensors: Sequence[SourceTensor]) -> None:
    for name, count in Counter(tensor.name for tensor in tensors).items():
        if count > 1:
            raise SourceError(f"{count} tensors have the name {name!r}", path=path)
        if not is_text(name):
            raise SourceError(f"the tensor name {name!a} is not valid Unicode", path=path)
