"""A folder as a source: every file is restored, and tensors of known formats are quantized.

Models of Hugging Face come as folders: weights beside settings and tokenizers.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from ....errors import SourceError
from .._source import Contents, Format, reject_options
from ._duplicates import remark_duplicates
from ._listing import list_folder
from ._model_files import Merger, find_misnamed_files, find_model_files, open_model_file
from ._remarks import remark_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from .._source import ReadOptions
    from ._listing import Listing
    from ._model_files import ModelFile

NAME: Final = "folder"


def folder_format(read_options: ReadOptions) -> Format:
    """Return the format of folders of which `include` and `exclude` select files."""
    return Format(
        NAME,
        (),
        _matches,
        _open,
        file_lister=partial(_list_files, read_options),
        folder_lister=partial(_list_empty_folders, read_options),
        default_restore=_default_restore,
        is_folder=True,
    )


def list_folder_requirements(root: Path, read_options: ReadOptions) -> set[str]:
    """Return the requirements of the libraries that read the files of a folder.

    Raises:
        SourceError: as `list_folder`.

    """
    found = find_model_files(list_folder(root, read_options).files)
    return {fmt.requirement for _, fmt in found if fmt.requirement}


@contextmanager
def _open(root: Path, read_options: ReadOptions) -> Iterator[Contents]:
    reject_options(NAME, layout=read_options.layout, key=read_options.key)
    if read_options.restore != "model":
        raise SourceError(
            "restore = 'tensors' is for files, and this is a folder; name the file with the "
            "weights, or the index of its shards, as the source"
        )
    listing = list_folder(root, read_options)
    with ExitStack() as stack:
        found = find_model_files(listing.files)
        models = [open_model_file(stack, path, fmt) for path, fmt in found]
        merger = Merger(listing.files, models)
        tensors = merger.tensors(root)
        if not tensors:
            raise SourceError("no file of the folder is a model with tensors in a known format")
        yield Contents(
            tensors,
            remarks=tuple(_list_remarks(root, listing, models)),
            checksums=tuple(merger.checksums()),
            copies=merger.copies(),
        )


def _list_remarks(root: Path, listing: Listing, models: Sequence[ModelFile]) -> Iterator[str]:
    yield from remark_folder(root, listing, find_misnamed_files(listing.files, models))
    for model in models:
        path = model.path.relative_to(root).as_posix()
        yield from (f"{path}: {remark}" for remark in model.contents.remarks)
    yield from remark_duplicates(root, models)


def _list_files(read_options: ReadOptions, root: Path) -> list[Path]:
    return list_folder(root, read_options).files


def _list_empty_folders(read_options: ReadOptions, root: Path) -> list[str]:
    return list_folder(root, read_options).folders


def _matches(_: bytes) -> bool:
    return False


def _default_restore(_: Path) -> str:
    # The files beside the weights are what a program opens the folder for.
    return "model"
