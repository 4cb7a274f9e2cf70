"""The attributes of an HDF5 file, each proved to be of strings before HDF5 reads it.

HDF5 has brought a process down over a damaged type of another kind.
"""

from __future__ import annotations

from typing import Any

from ....errors import SourceError
from ...optional import require


def read(item: Any, name: str) -> Any:
    """An attribute of an open group or dataset: a string or an array of strings, or an empty list.

    Raises:
        KeyError: it has none of the name.
        SourceError: it is of another type.

    """
    h5py = require("h5py", "build")
    attribute = h5py.h5a.open(item.id, name.encode())
    # h5py writes a list of nothing as numbers.
    if not attribute.get_space().get_simple_extent_npoints():
        return []
    if not isinstance(attribute.get_type(), h5py.h5t.TypeStringID):
        raise SourceError(f"the attribute {name!r} of {item.name} is not of strings")
    return item.attrs[name]


def get(item: Any, name: str) -> Any:
    """The same; None where there is none of the name."""
    return read(item, name) if name in item.attrs else None
