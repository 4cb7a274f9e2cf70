"""A checkpoint's object to the tensors of the state dict in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from ...._dtypes import STORAGE
from ....errors import SourceError
from .._source import Contents, SourceTensor
from ._objects import Storage, Tensor, UnsupportedTensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

Order = Literal["<", ">"]
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
# The place of what is in no table.
_ALL: Final = "."
# What `Module.get_extra_state` gives, whatever that is, comes under a name that ends like this.
_EXTRA: Final = "_extra_state"
# A broadcast tensor may have more elements than its storage, but not without bounds.
_MOST_BROADCAST: Final = 1 << 24


def contents_of(root: Any, key: str | None, read: ReadStorage, order: Order = "<") -> Contents:
    """The tensors of a checkpoint's state dict.

    Args:
        root: what was pickled.
        key: where the state dict is, names of tables with dots between them, "." for all that was
            pickled; None where that is clear.
        read: gives the bytes of a storage.
        order: of the bytes of an element, as numpy calls it.

    Raises:
        SourceError: there is no state dict at the key, or which is meant is not clear; a tensor
            reaches beyond its storage, or is of a kind that cannot be stored.

    """
    if not isinstance(root, dict):
        raise SourceError(f"it holds a {type(root).__name__}, and no state dict")
    if key is not None:
        return Contents(_tensors(_at_key(root, key), read, order))
    chosen, state = _choose(root)
    return Contents(_tensors(state, read, order), chosen)


def _choose(root: dict[Any, Any]) -> tuple[str | None, dict[Any, Any]]:
    """The state dict and, where there was a choice, its place."""
    tables = {name: table for name, table in _tables(root).items() if _has_tensors(table)}
    usual = [name for name in _USUAL_KEYS if name in tables]
    if _has_tensors(root):
        if not tables:
            return None, root
        tables[_ALL] = root
    elif not tables:
        tables = {
            f"{outer}.{inner}": table
            for outer, middle in _tables(root).items()
            for inner, table in _tables(middle).items() if _has_tensors(table)
        }  # fmt: skip
    choice = usual or list(tables)
    if len(choice) != 1:
        found = ", ".join(map(repr, sorted(tables))) or "nothing"
        raise SourceError(f"key: name the table to read; those with tensors are {found}")
    return choice[0], tables[choice[0]]


def _tables(table: dict[Any, Any]) -> dict[str, dict[Any, Any]]:
    """The tables in a table, but for what a module keeps beside its weights."""
    return {
        str(name): value
        for name, value in table.items()
        if isinstance(value, dict) and not str(name).endswith(_EXTRA)
    }


def _at_key(root: dict[Any, Any], key: str) -> dict[Any, Any]:
    if key == _ALL:
        return root
    tables = _tables(root)
    outer, _, inner = key.partition(".")
    if key not in tables and inner:
        tables |= {f"{outer}.{name}": t for name, t in _tables(tables.get(outer, {})).items()}
    if key not in tables:
        found = ", ".join(map(repr, sorted(tables))) or "none"
        raise SourceError(f"key: there is no table {key!r}; its tables are {found}")
    return tables[key]


def _has_tensors(table: dict[Any, Any]) -> bool:
    return any(isinstance(value, Tensor | UnsupportedTensor) for value in table.values())


def _tensors(state: dict[Any, Any], read: ReadStorage, order: Order) -> list[SourceTensor]:
    """Every tensor of a state dict; what is none (a step count, a name) is passed over."""
    return [
        _source_tensor(str(name), tensor, read, order)
        for name, tensor in state.items()
        if isinstance(tensor, Tensor | UnsupportedTensor)
    ]


def _source_tensor(
    name: str, tensor: Tensor | UnsupportedTensor, read: ReadStorage, order: Order
) -> SourceTensor:
    if isinstance(tensor, UnsupportedTensor):
        raise SourceError(
            f"tensor {name!r} is {tensor.kind}, which is not supported: save {tensor.remedy}"
        )
    if tensor.dtype not in STORAGE:
        raise SourceError(f"tensor {name!r} is of {tensor.dtype}, which is not supported")
    _check_bounds(name, tensor)
    return SourceTensor(name, tensor.dtype, tensor.shape, partial(_read, tensor, read, order))


def _check_bounds(name: str, tensor: Tensor) -> None:
    held = tensor.storage.size // STORAGE[tensor.dtype].itemsize
    count = math.prod(tensor.shape)
    if count and _end(tensor) > held:
        raise SourceError(f"tensor {name!r} reaches beyond its storage of {held} elements")
    # Empty tensors too: numpy makes none that would be too large without its zero.
    if math.prod(size or 1 for size in tensor.shape) > max(held, _MOST_BROADCAST):
        raise SourceError(f"tensor {name!r} is broadcast from {held} elements to {count}")


def _end(tensor: Tensor) -> int:
    """One more than the largest index into the storage."""
    steps = zip(tensor.shape, tensor.strides, strict=True)
    return tensor.offset + sum((size - 1) * stride for size, stride in steps) + 1


def _read(tensor: Tensor, read: ReadStorage, order: Order) -> NDArray[Any]:
    dtype = STORAGE[tensor.dtype]
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, dtype)
    start, end = tensor.offset, _end(tensor)
    content = read(tensor.storage, start * dtype.itemsize, (end - start) * dtype.itemsize)
    strides = [stride * dtype.itemsize for stride in tensor.strides]
    flat = np.frombuffer(content, dtype.newbyteorder(order))
    view = np.lib.stride_tricks.as_strided(flat, tensor.shape, strides, writeable=False)
    return view.astype(dtype, order="C")
