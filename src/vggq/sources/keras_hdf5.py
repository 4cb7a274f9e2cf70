"""Keras weights in HDF5: ``.h5`` and ``.hdf5``, of weights or of a whole model."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .. import _dtypes
from .._require import require
from ..errors import SourceError
from . import keras_layout
from ._source import Contents, Format, Reading, SourceTensor, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
# What h5py raises over a damaged file depends on where the damage is.
_DAMAGE: Final = (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError)


@contextmanager
def _open(path: Path, reading: Reading) -> Iterator[Contents]:
    refuse(path, FORMAT.name, key=reading.key)
    h5py = require("h5py", "build")
    try:
        file = h5py.File(path, "r")
    except _DAMAGE as error:
        raise SourceError(f"{path} cannot be read as HDF5: {error}") from error
    with file:
        try:
            tensors = _tensors(h5py, file) if reading.layout is None else _laid_out(file)
        except SourceError as error:
            raise SourceError(f"{path}: {error}") from error
        except _DAMAGE as error:
            raise SourceError(f"{path}: {error}") from error
        yield Contents(tensors)


def _tensors(h5py: Any, file: Any) -> list[SourceTensor]:
    datasets: list[Any] = []
    file.visititems(
        lambda _, item: datasets.append(item) if isinstance(item, h5py.Dataset) else None
    )
    return [_tensor(dataset, dataset.name.lstrip("/")) for dataset in datasets]


def _laid_out(file: Any) -> list[SourceTensor]:
    weights = keras_layout.find_weights(file)
    return [_tensor(weight.dataset, weight.name, weight.axes) for weight in weights]


def _tensor(dataset: Any, name: str, axes: tuple[int, ...] | None = None) -> SourceTensor:
    dtype = _dtypes.name_of(dataset.dtype)
    if dtype is None or dataset.shape is None:
        raise SourceError(f"tensor {name!r} is of {dataset.dtype}, which is not supported")
    axes = axes or tuple(range(dataset.ndim))
    shape = tuple(dataset.shape[axis] for axis in axes)
    return SourceTensor(name, dtype, shape, partial(_read, dataset, axes, dtype))


def _read(dataset: Any, axes: tuple[int, ...], dtype: str) -> NDArray[Any]:
    try:
        values = np.asarray(dataset[()]).transpose(axes)
    except _DAMAGE as error:
        raise SourceError(f"{dataset.file.filename}: {dataset.name}: {error}") from error
    return np.asarray(values, _dtypes.STORAGE[dtype], order="C")


def _matches(head: bytes) -> bool:
    return head.startswith(_SIGNATURE)


FORMAT: Final = Format("keras-hdf5", (".h5", ".hdf5"), _matches, _open, "h5py>=3.10")
