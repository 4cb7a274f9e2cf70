"""Describe the tensors of a torch checkpoint, and read their values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from .... import _dtypes
from ...._dtypes import STORAGE
from ....errors import SourceError
from .._source import SourceTensor, unsupported_tensor
from ._numpy import describe_pickled_array
from ._objects import DeviceTensor, Placeholder, Storage, Tensor, UnsupportedTensor, kind_of
from ._rebuild import is_old_tensor, rebuild_old_tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

ByteOrder = Literal["<", ">"]
ReadStorage = Callable[[Storage, int, int], bytes]
"""Returns `size` bytes from `start` of a storage, or raises SourceError if they are not there."""

# A broadcast tensor may have more elements than its storage, up to this number.
_MAX_BROADCAST: Final = 1 << 24
_CONVERTED: Final = frozenset({"F64", "F32", "F16", "BF16"})


def _no_location(_: Storage) -> int | None:
    return None


@dataclass(frozen=True, slots=True)
class StorageReader:
    """The storages of a checkpoint.

    Attributes:
        read: reads bytes of a storage.
        byte_order: of the elements in the storages, in numpy's notation.
        locate: returns the offset of a storage's first byte in the file; None if the storage is
            missing, compressed or encrypted.

    """

    read: ReadStorage
    byte_order: ByteOrder = "<"
    locate: Callable[[Storage], int | None] = _no_location


def describe_tensor(name: str, value: Any, storages: StorageReader) -> SourceTensor:
    """Return a tensor, a numpy array or a tensor of a device under a name.

    Raises:
        SourceError: the tensor reaches beyond its storage.

    """
    if is_old_tensor(value):
        value = rebuild_old_tensor(value)
    if isinstance(value, Tensor):
        return _describe_view(name, value, storages)
    if isinstance(value, DeviceTensor):
        return _describe_device_tensor(name, value, storages)
    if isinstance(value, UnsupportedTensor):
        problem = f"a {value.kind} is not supported; save {value.remedy} instead"
        return unsupported_tensor(name, problem)
    if isinstance(value, Placeholder):
        return describe_pickled_array(name, value) or _describe_object(name, value)
    return unsupported_tensor(
        name, f"a {kind_of(value)} is not supported; save torch.tensor(storage) instead"
    )


def _describe_object(name: str, value: Placeholder) -> SourceTensor:
    return unsupported_tensor(
        name,
        f"an object of {value.kind}, which holds tensors, is not supported: no code of a pickle is "
        "run; save its tensors in a dict instead, such as those of model.state_dict()",
    )


def _describe_view(name: str, tensor: Tensor, storages: StorageReader) -> SourceTensor:
    if tensor.dtype not in STORAGE:
        problem = f"the dtype {tensor.dtype} is not supported"
        return unsupported_tensor(name, problem, dtype=tensor.dtype, shape=tensor.shape)
    available = tensor.storage.size // STORAGE[tensor.dtype].itemsize
    count = math.prod(tensor.shape)
    if count and end_index(tensor) > available:
        raise SourceError(f"extends beyond its storage of {available} elements", tensor=name)
    # Zero sizes do not count: numpy rejects empty arrays that would be too large without them.
    if math.prod(size or 1 for size in tensor.shape) > max(available, _MAX_BROADCAST):
        problem = (
            f"broadcasts {available} elements to {count}, more than the limit of {_MAX_BROADCAST}"
        )
        return unsupported_tensor(name, problem, dtype=tensor.dtype, shape=tensor.shape)
    return SourceTensor(name, tensor.dtype, tensor.shape, partial(_read_view, tensor, storages))


def end_index(tensor: Tensor) -> int:
    """Return the largest index into the storage, plus one."""
    steps = zip(tensor.shape, tensor.strides, strict=True)
    return tensor.offset + sum((size - 1) * stride for size, stride in steps) + 1


def _read_view(tensor: Tensor, storages: StorageReader) -> NDArray[Any]:
    dtype = STORAGE[tensor.dtype]
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, dtype)
    start, end = tensor.offset, end_index(tensor)
    content = storages.read(tensor.storage, start * dtype.itemsize, (end - start) * dtype.itemsize)
    strides = [stride * dtype.itemsize for stride in tensor.strides]
    flat = np.frombuffer(content, dtype.newbyteorder(storages.byte_order))
    view = np.lib.stride_tricks.as_strided(flat, tensor.shape, strides, writeable=False)
    values = view.astype(dtype, order="C")
    return np.conjugate(values, out=values) if tensor.conjugated else values


def _describe_device_tensor(
    name: str, tensor: DeviceTensor, storages: StorageReader
) -> SourceTensor:
    saved = describe_tensor(name, tensor.data, storages)
    if saved.problem is not None or saved.dtype == tensor.dtype:
        return saved
    if not {saved.dtype, tensor.dtype} <= _CONVERTED:
        return unsupported_tensor(
            name,
            f"a tensor of {saved.dtype} that torch converts to {tensor.dtype} when loading is not "
            "supported; save tensor.cpu() instead",
        )
    read = partial(_read_converted, saved, tensor.dtype)
    return SourceTensor(name, tensor.dtype, saved.shape, read)


def _read_converted(saved: SourceTensor, dtype: str) -> NDArray[Any]:
    """Return the values in another floating-point dtype; torch converts them by way of float32."""
    values = saved.read()
    with np.errstate(over="ignore", invalid="ignore"):
        if saved.dtype == "F64":
            single = values.astype(np.float32)
        else:
            single = _dtypes.convert(values, saved.dtype)
        return round_to_bfloat16(single) if dtype == "BF16" else single.astype(STORAGE[dtype])


def round_to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return the bits of the nearest bfloat16 values; ties are rounded to even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(STORAGE["BF16"])
