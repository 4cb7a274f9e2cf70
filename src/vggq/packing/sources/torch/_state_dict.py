"""Find the state dict in an unpickled checkpoint, and describe its tensors."""

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

ByteOrder = Literal["<", ">"]
ReadStorage = Callable[[Storage, int, int], bytes]
"""Returns `size` bytes from `start` of a storage, or raises SourceError if they are not there."""

# Keys under which training scripts usually keep the state dict.
_USUAL_KEYS: Final[tuple[str, ...]] = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "network",
)
_ROOT_KEY: Final = "."
# `Module.get_extra_state` may return anything; torch stores it under a key with this suffix.
_EXTRA_STATE_SUFFIX: Final = "_extra_state"
# A broadcast tensor may have more elements than its storage, up to this number.
_MAX_BROADCAST: Final = 1 << 24


def find_contents(
    root: Any, key: str | None, read: ReadStorage, byte_order: ByteOrder = "<"
) -> Contents:
    """Return the tensors of the state dict in a checkpoint.

    Args:
        root: the unpickled object.
        key: place of the state dict: keys of nested dicts, joined by dots, or "." for the root;
            None to look for it.
        read: reads bytes of a storage.
        byte_order: of the elements in the storages, in numpy's notation.

    Raises:
        SourceError: there is no state dict at the key, or there are several and no key; a tensor
            reaches beyond its storage, or is of a kind that cannot be stored.

    """
    if not isinstance(root, dict):
        raise SourceError(f"contains a {type(root).__name__}, not a state dict")
    if key is not None:
        return Contents(_describe_tensors(_dict_at(root, key), read, byte_order))
    chosen_key, state = _choose_state_dict(root)
    return Contents(_describe_tensors(state, read, byte_order), chosen_key)


def _choose_state_dict(root: dict[Any, Any]) -> tuple[str | None, dict[Any, Any]]:
    """Return the state dict, and its key if there was a choice."""
    found = {name: inner for name, inner in _inner_dicts(root).items() if _has_tensors(inner)}
    usual = [name for name in _USUAL_KEYS if name in found]
    if _has_tensors(root):
        if not found:
            return None, root
        found[_ROOT_KEY] = root
    elif not found:
        found = {
            f"{outer}.{name}": inner
            for outer, middle in _inner_dicts(root).items()
            for name, inner in _inner_dicts(middle).items() if _has_tensors(inner)
        }  # fmt: skip
    candidates = usual or list(found)
    if not candidates:
        raise SourceError("none of its dicts contains tensors")
    if len(candidates) > 1:
        raise SourceError(f"several dicts contain tensors; set `key` to one of {_quoted(found)}")
    return candidates[0], found[candidates[0]]


def _inner_dicts(outer: dict[Any, Any]) -> dict[str, dict[Any, Any]]:
    """Return the dicts in a dict, without the extra state of modules."""
    return {
        str(name): value
        for name, value in outer.items()
        if isinstance(value, dict) and not str(name).endswith(_EXTRA_STATE_SUFFIX)
    }


def _dict_at(root: dict[Any, Any], key: str) -> dict[Any, Any]:
    if key == _ROOT_KEY:
        return root
    found = _inner_dicts(root)
    outer, _, inner = key.partition(".")
    if key not in found and inner:
        middle = found.get(outer, {})
        found |= {f"{outer}.{name}": value for name, value in _inner_dicts(middle).items()}
    if key not in found:
        raise SourceError(f"no dict has the key {key!r}; found {_quoted(found) or 'none'}")
    return found[key]


def _quoted(names: dict[str, Any]) -> str:
    return ", ".join(map(repr, sorted(names)))


def _has_tensors(state: dict[Any, Any]) -> bool:
    return any(isinstance(value, Tensor | UnsupportedTensor) for value in state.values())


def _describe_tensors(
    state: dict[Any, Any], read: ReadStorage, byte_order: ByteOrder
) -> list[SourceTensor]:
    """Return the tensors of a state dict; other values, such as a step count, are left out."""
    return [
        _describe_tensor(str(name), tensor, read, byte_order)
        for name, tensor in state.items()
        if isinstance(tensor, Tensor | UnsupportedTensor)
    ]


def _describe_tensor(
    name: str, tensor: Tensor | UnsupportedTensor, read: ReadStorage, byte_order: ByteOrder
) -> SourceTensor:
    if isinstance(tensor, UnsupportedTensor):
        raise SourceError(
            f"a {tensor.kind} is not supported; save {tensor.remedy} instead", tensor=name
        )
    if tensor.dtype not in STORAGE:
        raise SourceError(f"the dtype {tensor.dtype} is not supported", tensor=name)
    _check_bounds(name, tensor)
    read_values = partial(_read_values, tensor, read, byte_order)
    return SourceTensor(name, tensor.dtype, tensor.shape, read_values)


def _check_bounds(name: str, tensor: Tensor) -> None:
    available = tensor.storage.size // STORAGE[tensor.dtype].itemsize
    count = math.prod(tensor.shape)
    if count and _end_index(tensor) > available:
        raise SourceError(f"extends beyond its storage of {available} elements", tensor=name)
    # Zero sizes do not count: numpy rejects empty arrays that would be too large without them.
    if math.prod(size or 1 for size in tensor.shape) > max(available, _MAX_BROADCAST):
        raise SourceError(
            f"broadcasts {available} elements to {count}, more than the limit of {_MAX_BROADCAST}",
            tensor=name,
        )


def _end_index(tensor: Tensor) -> int:
    """Return the largest index into the storage, plus one."""
    steps = zip(tensor.shape, tensor.strides, strict=True)
    return tensor.offset + sum((size - 1) * stride for size, stride in steps) + 1


def _read_values(tensor: Tensor, read: ReadStorage, byte_order: ByteOrder) -> NDArray[Any]:
    dtype = STORAGE[tensor.dtype]
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, dtype)
    start, end = tensor.offset, _end_index(tensor)
    content = read(tensor.storage, start * dtype.itemsize, (end - start) * dtype.itemsize)
    strides = [stride * dtype.itemsize for stride in tensor.strides]
    flat = np.frombuffer(content, dtype.newbyteorder(byte_order))
    view = np.lib.stride_tricks.as_strided(flat, tensor.shape, strides, writeable=False)
    return view.astype(dtype, order="C")
