"""A dataset of an HDF5 file as a tensor of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .... import _dtypes
from ....errors import SourceError
from ...optional import require
from .._source import SourceTensor, unsupported_tensor
from .._untyped import declared_dtype, is_untyped, untyped_problem
from ._attributes import find_strings
from ._places import find_place
from ._tree import ELSEWHERE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ._layer import TorchTensor

# The exception that h5py raises for a damaged file depends on where the damage is.
H5PY_ERRORS: Final = (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError,
                      IndexError, MemoryError, OverflowError)  # fmt: skip
_BFLOAT16: Final = np.dtype("V2")
# The filters that Keras uses expand no byte to more than this.
_MAX_FILTER_EXPANSION: Final = 1100
_MIN_CHECKED_SIZE: Final = 1 << 28


@dataclass(frozen=True, slots=True)
class _StoredDtype:
    """The dtype of a dataset.

    Attributes:
        name: its safetensors name; None if it has none.
        shown: its name for people.
        problem: why the dataset cannot be packed, if there is no name.
        untyped: whether the file states only the number of bytes of a value.

    """

    name: str | None
    shown: str
    problem: str = ""
    untyped: bool = False


def describe_dataset(
    file: Any,
    tensor: TorchTensor,
    declarations: Sequence[tuple[str, str]],
    base: int | None = None,
) -> SourceTensor:
    """Return a dataset as a tensor, which has a problem if it cannot be packed.

    Args:
        file: the open HDF5 file.
        tensor: the dataset, with its final name and shape, and its conversion.
        declarations: the option `dtypes`.
        base: the offset of the HDF5 file in the file to restore; the tensor then has a place, or a
            problem that says why it has none. None if no file is restored.

    """
    name, dataset = tensor.name, tensor.dataset
    stored = _stored_dtype(name, dataset, declarations)
    problem = tensor.problem or stored.problem or _find_storage_problem(file, dataset)
    if stored.name is None or problem:
        shape = dataset.shape or ()
        described = unsupported_tensor(name, problem or "", dtype=stored.shown, shape=shape)
    else:
        dtype = tensor.dtype or stored.name
        read = partial(_read_dataset, dataset, tensor.convert, stored.name, dtype)
        described = SourceTensor(name, dtype, tensor.shape, read)
        if base is not None and described.count:
            described = _locate(described, dataset, base)
    return replace(described, untyped=stored.untyped)


def _locate(tensor: SourceTensor, dataset: Any, base: int) -> SourceTensor:
    place = find_place(dataset, base)
    if isinstance(place, str):
        return replace(tensor, problem=place)
    return replace(tensor, place=place)


def _stored_dtype(name: str, dataset: Any, declarations: Sequence[tuple[str, str]]) -> _StoredDtype:
    try:
        dtype = dataset.dtype
    except (TypeError, ValueError) as error:
        return _StoredDtype(None, "unknown", f"its HDF5 type is not supported: {error}")
    # HDF5 has no bfloat16: Keras stores two opaque bytes per value, and an attribute.
    if dtype == _BFLOAT16 and find_strings(dataset, "dtype") == "bfloat16":
        return _StoredDtype("BF16", "BF16")
    if is_untyped(dtype):
        declared = declared_dtype(name, dtype, declarations)
        problem = "" if declared else untyped_problem(name, dtype)
        return _StoredDtype(declared, str(dtype), problem, untyped=True)
    found = _dtypes.dtype_name(dtype)
    return _StoredDtype(found, str(dtype), "" if found else _unsupported_reason(dtype))


def _unsupported_reason(dtype: np.dtype[Any]) -> str:
    """Return why a dtype that has no safetensors name cannot be packed."""
    h5py = require("h5py", "build")
    if dtype.kind == "S" or h5py.check_string_dtype(dtype):
        return "strings are not supported"
    if h5py.check_ref_dtype(dtype):
        return "references to objects are not supported"
    if h5py.check_vlen_dtype(dtype):
        return "lists of different lengths are not supported"
    return f"the dtype {dtype} is not supported"


def _find_storage_problem(file: Any, dataset: Any) -> str | None:
    """Return why a dataset cannot be packed, whatever its dtype is."""
    if dataset.shape is None:
        return "an empty dataset, which has no shape, is not supported"
    if dataset.is_virtual or dataset.external or dataset.file.filename != file.filename:
        return ELSEWHERE
    if missing := _missing_filters(dataset):
        return f"compressed with {missing[0]}, which this installation of HDF5 cannot read"
    stored_size = dataset.id.get_storage_size()
    if dataset.nbytes > max(_MIN_CHECKED_SIZE, _MAX_FILTER_EXPANSION * stored_size):
        return f"its shape needs {dataset.nbytes} bytes, but the file stores only {stored_size}"
    return None


def _missing_filters(dataset: Any) -> list[str]:
    """Return the filters that were applied to the dataset and cannot be undone here."""
    h5z = require("h5py", "build").h5z
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(index) for index in range(properties.get_nfilters())]
    return [
        f"the filter {code} {name.decode('utf-8', 'backslashreplace')}".rstrip()
        for index, (code, _, _, name) in enumerate(filters)
        if not h5z.filter_avail(code) and _is_applied(dataset, index)
    ]


def _is_applied(dataset: Any, index: int) -> bool:
    """Return whether a filter was applied; an optional one is left out where it was missing."""
    chunks = map(dataset.id.get_chunk_info, range(dataset.id.get_num_chunks()))
    return any(not chunk.filter_mask >> index & 1 for chunk in chunks)


def _read_dataset(
    dataset: Any,
    convert: Callable[[NDArray[Any]], NDArray[Any]],
    stored_dtype: str,
    dtype: str,
) -> NDArray[Any]:
    try:
        values = np.asarray(dataset[()])
        if values.dtype.kind == "V":
            values = values.view(_dtypes.STORAGE[stored_dtype])
        return np.asarray(convert(values), _dtypes.STORAGE[dtype], order="C")
    except H5PY_ERRORS as error:
        raise SourceError(f"the dataset {dataset.name!r} is damaged: {error}") from error
