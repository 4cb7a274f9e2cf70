"""Keras weights in HDF5: ``.h5`` and ``.hdf5`` files of weights or of a whole model."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from .... import _dtypes
from ...._reader import Reader
from ....errors import SourceError
from ...optional import require
from .._source import Contents, Format, ReadOptions, SourceTensor, reject_options
from ._attributes import find_strings
from ._heap import SIGNATURE, check_heaps
from ._layer import TorchTensor
from .layout import convert_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

# The exception that h5py raises for a damaged file depends on where the damage is.
_H5PY_ERRORS: Final = (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError,
                       IndexError, MemoryError, OverflowError)  # fmt: skip
_BFLOAT16: Final = np.dtype("V2")
# The filters that Keras uses expand no byte to more than this.
_MAX_FILTER_EXPANSION: Final = 1100
_MIN_CHECKED_SIZE: Final = 1 << 28


@contextmanager
def _open(path: Path, read_options: ReadOptions) -> Iterator[Contents]:
    reject_options(FORMAT.name, key=read_options.key)
    convert = None if read_options.layout is None else convert_file
    with open_tensors(path, path, convert) as tensors:
        yield Contents(tensors)


@contextmanager
def open_tensors(
    content: Path | IO[bytes], path: Path, convert: Callable[[Any], list[TorchTensor]] | None
) -> Iterator[list[SourceTensor]]:
    """Open an HDF5 file and describe its tensors.

    Args:
        content: the file.
        path: path of the file, or of the archive that contains it.
        convert: returns the tensors for torch of the open file; None to take every dataset
            unchanged.

    Raises:
        SourceError: the file is damaged, has dtypes that cannot be stored, or cannot be converted.

    """
    h5py = require("h5py", "build")
    _check_before_hdf5(content, path)
    try:
        file = h5py.File(content, "r")
    except _H5PY_ERRORS as error:
        raise SourceError(f"cannot be read as HDF5: {error}") from error
    with file:
        try:
            found = _all_datasets(h5py, file) if convert is None else convert(file)
            tensors = [_describe_dataset(file, tensor) for tensor in found]
        except _H5PY_ERRORS as error:
            raise SourceError(f"damaged HDF5 file: {error}") from error
        yield tensors


def _check_before_hdf5(content: Path | IO[bytes], path: Path) -> None:
    """Reject a file over which HDF5 would loop forever."""
    try:
        with content.open("rb") if isinstance(content, Path) else nullcontext(content) as file:
            check_heaps(Reader(file, path, owned=False))
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}") from error


def _all_datasets(h5py: Any, file: Any) -> list[TorchTensor]:
    datasets: list[Any] = []
    file.visititems(
        lambda _, item: datasets.append(item) if isinstance(item, h5py.Dataset) else None
    )
    return [
        TorchTensor(dataset.name.lstrip("/"), dataset, dataset.shape, np.asarray)
        for dataset in datasets
    ]


def _describe_dataset(file: Any, tensor: TorchTensor) -> SourceTensor:
    name, dataset = tensor.name, tensor.dataset
    stored_dtype = _dtype_name(dataset)
    if stored_dtype is None or dataset.shape is None:
        raise SourceError(f"the dtype {dataset.dtype} is not supported", tensor=name)
    if dataset.is_virtual or dataset.external or dataset.file.filename != file.filename:
        raise SourceError("stored in another file, which is not supported", tensor=name)
    stored_size = dataset.id.get_storage_size()
    if dataset.nbytes > max(_MIN_CHECKED_SIZE, _MAX_FILTER_EXPANSION * stored_size):
        raise SourceError(
            f"its shape needs {dataset.nbytes} bytes, but the file stores only {stored_size}",
            tensor=name,
        )
    dtype = tensor.dtype or stored_dtype
    read = partial(_read_dataset, dataset, tensor.convert, dtype)
    return SourceTensor(name, dtype, tensor.shape, read)


def _dtype_name(dataset: Any) -> str | None:
    # HDF5 has no bfloat16: Keras stores two opaque bytes per value, and an attribute.
    if dataset.dtype == _BFLOAT16 and find_strings(dataset, "dtype") == "bfloat16":
        return "BF16"
    return _dtypes.dtype_name(dataset.dtype)


def _read_dataset(
    dataset: Any, convert: Callable[[NDArray[Any]], NDArray[Any]], dtype: str
) -> NDArray[Any]:
    try:
        values = np.asarray(dataset[()])
        if values.dtype == _BFLOAT16:
            values = values.view(_dtypes.STORAGE["BF16"])
        return np.asarray(convert(values), _dtypes.STORAGE[dtype], order="C")
    except _H5PY_ERRORS as error:
        raise SourceError(f"the dataset {dataset.name!r} is damaged: {error}") from error


def _matches(head: bytes) -> bool:
    return head.startswith(SIGNATURE)


FORMAT: Final = Format("keras-hdf5", (".h5", ".hdf5"), _matches, _open, "h5py>=3.10")
