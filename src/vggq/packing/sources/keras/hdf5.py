"""Keras weights in HDF5: ``.h5`` and ``.hdf5``, of weights or of a whole model."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from .... import _dtypes
from ...._reader import Reader
from ....errors import PackedFileError, SourceError
from ...optional import require
from .._source import Contents, Format, ReadOptions, SourceTensor, refuse
from . import _attributes, layout
from ._heap import SIGNATURE, check_heaps
from ._layer import TorchTensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

# What h5py raises over a damaged file depends on where the damage is.
_DAMAGE: Final = (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError,
                  IndexError, MemoryError, OverflowError)  # fmt: skip
_BFLOAT16: Final = np.dtype("V2")
# No filter that Keras uses makes more of a byte.
_MOST_EXPANDED: Final = 1100
_SMALL: Final = 1 << 28


@contextmanager
def _open(path: Path, reading: ReadOptions) -> Iterator[Contents]:
    refuse(path, FORMAT.name, key=reading.key)
    find = None if reading.layout is None else layout.find_weights
    with open_tensors(path, path, find) as tensors:
        yield Contents(tensors)


@contextmanager
def open_tensors(
    content: Path | IO[bytes], path: Path, find: Callable[[Any], list[TorchTensor]] | None
) -> Iterator[list[SourceTensor]]:
    """The tensors of an HDF5 file.

    Args:
        content: the file.
        path: what it is called in messages.
        find: finds them in the open file, laid out; None for every dataset as it is.

    Raises:
        SourceError: it is damaged, or of types that cannot be stored, or `find` refuses it.

    """
    h5py = require("h5py", "build")
    _prove(content, path)
    try:
        file = h5py.File(content, "r")
    except _DAMAGE as error:
        raise SourceError(f"{path} cannot be read as HDF5: {error}") from error
    with file:
        try:
            found = _as_they_are(h5py, file) if find is None else find(file)
            tensors = [_tensor(file, path, tensor) for tensor in found]
        except (SourceError, *_DAMAGE) as error:
            raise SourceError(f"{path}: {error}") from error
        yield tensors


def _prove(content: Path | IO[bytes], path: Path) -> None:
    """Refuse what HDF5 would not come back from."""
    try:
        with content.open("rb") if isinstance(content, Path) else nullcontext(content) as file:
            check_heaps(Reader(file, str(path), owned=False))
    except (SourceError, PackedFileError) as error:
        raise SourceError(f"{path}: {error}") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error


def _as_they_are(h5py: Any, file: Any) -> list[TorchTensor]:
    datasets: list[Any] = []
    file.visititems(
        lambda _, item: datasets.append(item) if isinstance(item, h5py.Dataset) else None
    )
    return [
        TorchTensor(dataset.name.lstrip("/"), dataset, dataset.shape, np.asarray)
        for dataset in datasets
    ]


def _tensor(file: Any, path: Path, tensor: TorchTensor) -> SourceTensor:
    name, dataset = tensor.name, tensor.dataset
    stored = _dtype_of(dataset)
    if stored is None or dataset.shape is None:
        raise SourceError(f"tensor {name!r} is of {dataset.dtype}, which is not supported")
    if dataset.is_virtual or dataset.external or dataset.file.filename != file.filename:
        raise SourceError(f"tensor {name!r} lies in another file")
    if dataset.nbytes > max(_SMALL, _MOST_EXPANDED * dataset.id.get_storage_size()):
        raise SourceError(f"tensor {name!r} says that it has {dataset.nbytes} bytes, and has not")
    dtype = tensor.dtype or stored
    read = partial(_read, path, dataset, tensor.make, dtype)
    return SourceTensor(name, dtype, tensor.shape, read)


def _dtype_of(dataset: Any) -> str | None:
    # HDF5 has no bfloat16: Keras keeps two bytes a number, and says so beside them.
    if dataset.dtype == _BFLOAT16 and _attributes.get(dataset, "dtype") == "bfloat16":
        return "BF16"
    return _dtypes.name_of(dataset.dtype)


def _read(
    path: Path, dataset: Any, make: Callable[[NDArray[Any]], NDArray[Any]], dtype: str
) -> NDArray[Any]:
    try:
        values = np.asarray(dataset[()])
        if values.dtype == _BFLOAT16:
            values = values.view(_dtypes.STORAGE["BF16"])
        return np.asarray(make(values), _dtypes.STORAGE[dtype], order="C")
    except _DAMAGE as error:
        raise SourceError(f"{path}: {dataset.name}: {error}") from error


def _matches(head: bytes) -> bool:
    return head.startswith(SIGNATURE)


FORMAT: Final = Format("keras-hdf5", (".h5", ".hdf5"), _matches, _open, "h5py>=3.10")
