"""A checkpoint's object to the tensors of the state dict in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..._dtypes import STORAGE
from ...errors import SourceError
from .._source import Contents, SourceTensor
from ._names import Storage, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

ReadStorage = Callable[[Storage, int, int], bytes]
"""Gives `size` bytes from `start` of a storage, having proved that they are there."""

# Where people keep the state dict among other things.
_USUAL_KEYS: Final[tuple[str, ...]] = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "network",
)
# A broadcast tensor may have more elements than its storage, but not without bounds.
_MOST_BROADCAST: Final = 1 << 24


def contents_of(root: Any, key: str | None, read: ReadStorage) -> Contents:
    """The tensors of a checkpoint's state dict.

    Args:
        root: what was pickled.
        key: where the state dict is; None where that is clear.
        read: gives the bytes of a storage.

    Raises:
        SourceError: there is no state dict at the key, or which is meant is not clear; a tensor
            reaches beyond its storage, or is of a dtype that cannot be stored.

    """
    if not isinstance(root, dict):
        raise SourceError(f"it holds a {type(root).__name__}, and no state dict")
    if key is not None:
        return Contents(_tensors(_at_key(root, key), read))
    if _has_tensors(root):
        return Contents(_tensors(root, read))
    chosen, state = _choose(root)
    return Contents(_tensors(state, read), chosen)


def _choose(root: dict[Any, Any]) -> tuple[str, dict[Any, Any]]:
    tables = {str(k): v for k, v in root.items() if isinstance(v, dict) and _has_tensors(v)}
    usual = [name for name in _USUAL_KEYS if name in tables]
    choice = usual or list(tables)
    if len(choice) != 1:
        found = ", ".join(map(repr, sorted(tables))) or "nothing"
        raise SourceError(f"key: name the table to read; those with tensors are {found}")
    return choice[0], tables[choice[0]]


def _at_key(root: dict[Any, Any], key: str) -> dict[Any, Any]:
    table = root.get(key)
    if not isinstance(table, dict):
        tables = [str(name) for name, value in root.items() if isinstance(value, dict)]
        found = ", ".join(map(repr, sorted(tables))) or "none"
        raise SourceError(f"key: there is no table {key!r}; its tables are {found}")
    return table


def _has_tensors(table: dict[Any, Any]) -> bool:
    return any(isinstance(value, Tensor) for value in table.values())


def _tensors(state: dict[Any, Any], read: ReadStorage) -> list[SourceTensor]:
    """Every tensor of a state dict; what is none (a step count, a name) is passed over."""
    return [
        _source_tensor(str(name), tensor, read)
        for name, tensor in state.items()
        if isinstance(tensor, Tensor)
    ]


def _source_tensor(name: str, tensor: Tensor, read: ReadStorage) -> SourceTensor:
    if tensor.dtype not in STORAGE:
        raise SourceError(f"tensor {name!r} is of {tensor.dtype}, which is not supported")
    _check_bounds(name, tensor)
    return SourceTensor(name, tensor.dtype, tensor.shape, partial(_read, tensor, read))


def _check_bounds(name: str, tensor: Tensor) -> None:
    storage = tensor.storage
    size = 1 if storage.dtype is None else STORAGE[storage.dtype].itemsize
    held = storage.count * size // STORAGE[tensor.dtype].itemsize
    count = math.prod(tensor.shape)
    if count and _end(tensor) > held:
        raise SourceError(f"tensor {name!r} reaches beyond its storage of {held} elements")
    if count > max(held, _MOST_BROADCAST):
        raise SourceError(f"tensor {name!r} is broadcast from {held} elements to {count}")


def _end(tensor: Tensor) -> int:
    """One more than the largest index into the storage."""
    steps = zip(tensor.shape, tensor.strides, strict=True)
    return tensor.offset + sum((size - 1) * stride for size, stride in steps) + 1


def _read(tensor: Tensor, read: ReadStorage) -> NDArray[Any]:
    dtype = STORAGE[tensor.dtype]
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, dtype)
    start, end = tensor.offset, _end(tensor)
    content = read(tensor.storage, start * dtype.itemsize, (end - start) * dtype.itemsize)
    strides = [stride * dtype.itemsize for stride in tensor.strides]
    flat = np.frombuffer(content, dtype)
    return np.lib.stride_tricks.as_strided(flat, tensor.shape, strides, writeable=False).copy()
