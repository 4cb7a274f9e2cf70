"""Keras weights in several HDF5 files, with an index that maps each group of weights to its files.

``model.save_weights("model.weights.json", max_shard_size=…)`` of Keras 3.10 and later writes
``{"metadata": {"total_size": …}, "weight_map": {"/layers/dense/vars": file or files}}``.
https://github.com/keras-team/keras/blob/v3.15.1/keras/src/saving/saving_lib.py
"""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ...._dtypes import STORAGE
from ....errors import SourceError
from .._shard_index import is_file_name, list_files, merge_shards, open_shards, read_index
from .._source import Contents, Format, ReadOptions, reject_options
from . import hdf5
from .layout import NUMBERED_ADVICE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .._source import SourceTensor

# Other indices map names of tensors, which do not start with a slash.
_INDEX_START: Final = re.compile(rb'\s*\{.*?"weight_map"\s*:\s*\{\s*("/|\})', re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Index:
    """The index.

    Attributes:
        shards: for each group of weights, the names of its files.
        total_size: bytes of all weights; 0 if the index does not state it.

    """

    shards: dict[str, list[str]]
    total_size: float

    @property
    def names(self) -> list[str]:
        """The names of all files, each once."""
        return list(dict.fromkeys(name for names in self.shards.values() for name in names))


@contextmanager
def _open(path: Path, read_options: ReadOptions) -> Iterator[Contents]:
    reject_options(FORMAT.name, key=read_options.key)
    if read_options.layout is not None:
        raise SourceError(NUMBERED_ADVICE)
    index = _read_index(path)
    with ExitStack() as stack:
        shards = open_shards(stack, path, index.names, [hdf5.FORMAT], read_options)
        _check_groups(index, shards)
        tensors = [tensor for contents in shards.values() for tensor in contents.tensors]
        _check_total_size(index, tensors)
        yield merge_shards(tensors, shards.values())


def _check_groups(index: _Index, shards: dict[str, Contents]) -> None:
    """Check that each file has weights of the groups that the index lists for it."""
    groups = {
        name: {f"/{tensor.name}".rpartition("/")[0] for tensor in contents.tensors}
        for name, contents in shards.items()
    }
    for group, names in index.shards.items():
        for name in names:
            if group not in groups[name]:
                raise SourceError(f"{group!r} is missing from {name}, where weight_map lists it")


def _check_total_size(index: _Index, tensors: list[SourceTensor]) -> None:
    """Check that no file is missing from the index."""
    sizes = [
        tensor.count * STORAGE[tensor.dtype].itemsize for tensor in tensors if not tensor.problem
    ]
    if len(sizes) == len(tensors) and sum(sizes) < index.total_size:
        raise SourceError(
            f"lists files with {sum(sizes)} bytes of weights, but states a total_size of "
            f"{index.total_size:.0f}"
        )


def _list_files(path: Path) -> list[Path]:
    return list_files(path, _read_index(path).names)


def _read_index(path: Path) -> _Index:
    weight_map, metadata = read_index(path)
    shards = {
        group: names if isinstance(names, list) else [names] for group, names in weight_map.items()
    }
    if not all(is_file_name(name) for names in shards.values() for name in names):
        raise SourceError("weight_map must map each group to the names of files in this folder")
    total_size: Any = metadata.get("total_size")
    return _Index(shards, total_size if isinstance(total_size, int | float) else 0)


def _matches(head: bytes) -> bool:
    return _INDEX_START.match(head) is not None


FORMAT: Final = Format(
    "keras-sharded",
    (".weights.json",),
    _matches,
    _open,
    "h5py>=3.10",
    _list_files,
    channels_last=True,
)
