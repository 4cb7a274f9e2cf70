"""Keras weights in HDF5: ``.h5`` and ``.hdf5`` files of weights or of a whole model."""

from __future__ import annotations

import re
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from ...._reader import Reader
from ....errors import SourceError
from ...optional import require
from .._remarks import remark_unpacked
from .._source import Contents, Format, ReadOptions, reject_options, unsupported_tensor
from ._dataset import H5PY_ERRORS, describe_dataset
from ._heap import SIGNATURE, check_heaps
from ._layer import TorchTensor
from ._tree import object_key, read_tree
from .layout import convert_file, is_training_state

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from ._tree import Tree

# Attributes that only serve to read the file: names, dtypes and versions.
_READING_ATTRIBUTES: Final = re.compile(
    r"(layer_names|weight_names)[0-9]*|backend|dtype|keras_version|name"
)
_NO_LAYER: Final = "layout = 'torch' finds no layer of this weight"
_NOTHING: Final[Mapping[str, Collection[str]]] = MappingProxyType({})


@contextmanager
def _open(path: Path, read_options: ReadOptions) -> Iterator[Contents]:
    reject_options(FORMAT.name, key=read_options.key)
    base = 0 if read_options.restore == "model" else None
    with open_contents(path, path, read_options, convert_file, base=base) as contents:
        yield contents


@contextmanager
def open_contents(
    content: Path | IO[bytes],
    path: Path,
    read_options: ReadOptions,
    convert: Callable[[Any], list[TorchTensor]],
    *,
    unread: Mapping[str, Collection[str]] = _NOTHING,
    base: int | None = None,
) -> Iterator[Contents]:
    """Open an HDF5 file and describe its tensors.

    Args:
        content: the file.
        path: path of the file, or of the archive that contains it.
        read_options: options for reading it.
        convert: returns the tensors for torch of the open file; called if there is a layout.
            Without one, every dataset is taken unchanged.
        unread: names of what is not packed of the archive that contains the file, by their kind.
        base: the offset of the HDF5 file in the file to restore, which has the places of the
            tensors; None if there are no places.

    Raises:
        SourceError: the file is damaged, or cannot be converted.

    """
    h5py = require("h5py", "build")
    _check_before_hdf5(content, path)
    try:
        file = h5py.File(content, "r")
    except H5PY_ERRORS as error:
        raise SourceError(f"cannot be read as HDF5: {error}") from error
    with file:
        try:
            tree = read_tree(file)
            converted = None if read_options.layout is None else convert(file)
            found, left_out = _choose_datasets(tree, converted)
            tensors = [
                describe_dataset(file, tensor, read_options.dtypes, base) for tensor in found
            ]
        except H5PY_ERRORS as error:
            raise SourceError(f"damaged HDF5 file: {error}") from error
        problems = sorted(tree.problems.items())
        tensors += [unsupported_tensor(path, problem) for path, problem in problems]
        # A restored file has everything else as well.
        is_complete = read_options.restore == "model"
        remarks = () if is_complete else _remark_leftovers(tree, {**unread, **left_out})
        yield Contents(tensors, remarks=remarks)


def _check_before_hdf5(content: Path | IO[bytes], path: Path) -> None:
    """Reject a file over which HDF5 would loop forever."""
    try:
        with content.open("rb") if isinstance(content, Path) else nullcontext(content) as file:
            check_heaps(Reader(file, path, owned=False))
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}") from error


def _choose_datasets(
    tree: Tree, converted: list[TorchTensor] | None
) -> tuple[list[TorchTensor], dict[str, list[str]]]:
    """Return the tensors to describe, and the names of datasets that are left out, by their kind.

    Args:
        tree: the content of the file.
        converted: the tensors for torch; None if there is no layout.

    """
    datasets = sorted(tree.datasets.items())
    if converted is None:
        return [_unchanged(path, dataset) for path, dataset in datasets], {}
    used = {object_key(tensor.dataset) for tensor in converted}
    used_names = {tensor.dataset.name.lstrip("/") for tensor in converted}
    others = [(path, dataset) for path, dataset in datasets if object_key(dataset) not in used]
    lost = [_unchanged(*item, _NO_LAYER) for item in others if not is_training_state(item[0])]
    further_names = {path for path, _ in datasets} - {path for path, _ in others} - used_names
    return converted + lost, {
        "state of training": [path for path, _ in others if is_training_state(path)],
        "further names of packed weights": sorted(further_names),
    }


def _unchanged(path: str, dataset: Any, problem: str | None = None) -> TorchTensor:
    return TorchTensor(path, dataset, dataset.shape, np.asarray, problem=problem)


def _remark_leftovers(tree: Tree, unread: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    attributes = [name for name in tree.attributes if not _READING_ATTRIBUTES.fullmatch(name)]
    found = {"attributes": sorted(attributes), "links back to a group above them": tree.cycles}
    return remark_unpacked({**unread, **found})


def _matches(head: bytes) -> bool:
    return head.startswith(SIGNATURE)


FORMAT: Final = Format(
    "keras-hdf5", (".h5", ".hdf5"), _matches, _open, "h5py>=3.10", channels_last=True
)
