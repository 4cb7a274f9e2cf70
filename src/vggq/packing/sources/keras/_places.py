"""The ranges of HDF5 files that hold the values of datasets."""

from __future__ import annotations

from reprlib import repr as short
from typing import TYPE_CHECKING, Any

from ....errors import SourceError
from ...optional import require
from .._places import Place

if TYPE_CHECKING:
    import numpy as np


def find_place(dataset: Any, base: int) -> Place | str:
    """Return the range with a dataset's values, or the reason why it has no range.

    Args:
        dataset: the open dataset, which is in this file and has a shape and a supported dtype.
        base: the offset of the HDF5 file in the file to restore.

    Raises:
        SourceError: the values reach beyond the end of the file.

    """
    h5py = require("h5py", "build")
    properties = dataset.id.get_create_plist()
    layout = properties.get_layout()
    if properties.get_nfilters():
        return "its dataset is compressed, or has another filter"
    if layout != h5py.h5d.CONTIGUOUS:
        names = {h5py.h5d.CHUNKED: "chunked", h5py.h5d.COMPACT: "compact"}
        return f"its dataset is {names.get(layout, 'not contiguous')}"
    if dataset.dtype.newbyteorder("<") != dataset.dtype:
        return "its byte order is big-endian"
    if not _is_plain_type(dataset.id.get_type(), dataset.dtype):
        return "its HDF5 type is not the usual one of its dtype"
    # HDF5 states an offset for datasets without values, too.
    offset = dataset.id.get_offset()
    if offset is None or dataset.id.get_storage_size() != dataset.nbytes:
        return "the file does not store all of its values"
    # HDF5 2 refuses to open such a dataset, HDF5 1 only to read it.
    size = dataset.file.id.get_filesize()
    if offset + dataset.nbytes > size:
        raise SourceError(
            f"damaged HDF5 file: dataset {short(dataset.name)} of {dataset.nbytes} bytes at offset "
            f"{offset} reaches beyond the file's {size} bytes"
        )
    return Place(0, base + offset, dataset.nbytes)


def _is_plain_type(kind: Any, dtype: np.dtype[Any]) -> bool:
    """Return whether HDF5 copies the values of a type without converting them."""
    h5py = require("h5py", "build")
    if isinstance(kind, h5py.h5t.TypeOpaqueID):
        return bool(kind.get_size() == dtype.itemsize)
    return bool(kind.equal(h5py.h5t.py_create(dtype, logical=True)))
