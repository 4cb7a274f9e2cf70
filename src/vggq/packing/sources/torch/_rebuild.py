"""Stand-ins for the functions of torch that make tensors from the parts in a pickle."""

from __future__ import annotations

from reprlib import repr as short
from typing import TYPE_CHECKING, Any, Final

from ...._json import MAX_DIMENSIONS
from ....errors import SourceError
from ._objects import (
    DeviceTensor,
    NamedConstant,
    Placeholder,
    Storage,
    StorageType,
    Tensor,
    TensorClass,
    UnknownGlobal,
    UnsupportedTensor,
)
from ._stack import damaged_pickle

if TYPE_CHECKING:
    from collections.abc import Callable

    AnyTensor = Tensor | UnsupportedTensor | DeviceTensor | Placeholder


# Old releases wrap a tensor in a parameter, or that in a variable.
_MAX_WRAPPED: Final = 4


def load_persistent(pid: Any) -> Any:
    """Return the storage for a persistent id, or the class of a module in the legacy format."""
    if type(pid) is tuple and len(pid) == 4 and pid[0] == "module":
        return pid[1]
    return load_storage(pid)


def load_storage(pid: Any) -> Storage:
    """Return the storage for a persistent id, ("storage", type, key, device, count, …)."""
    if type(pid) is not tuple or len(pid) not in (5, 6) or pid[0] != "storage":
        raise damaged_pickle(f"{short(pid)} is not a storage")
    _, kind, key, _, count = pid[:5]
    if isinstance(kind, UnknownGlobal):
        # A class of a later release of torch.
        kind = StorageType(repr(kind), 0)
    if not isinstance(kind, StorageType) or type(key) is not str or not is_small_count(count):
        raise damaged_pickle(f"{short(pid)} is not a storage")
    if len(pid) == 6 and pid[5] is not None:
        raise SourceError(
            "views of storages, as torch before 0.4 wrote them, are not supported; load the "
            "checkpoint with torch and save it again"
        )
    return Storage(kind, key, count)


def rebuild_tensor(storage: Any, *arguments: Any) -> Tensor | UnsupportedTensor:
    """Stand in for _rebuild_tensor and for _rebuild_tensor_v2, which has three more arguments."""
    offset, shape, strides, *rest = arguments
    if isinstance(storage, Placeholder):
        return _unknown_storage(storage)
    if not isinstance(storage, Storage) or storage.kind.dtype is None:
        raise damaged_pickle("a tensor has no storage")
    metadata = rest[2] if len(rest) > 2 else None
    return _make_tensor(storage, storage.kind.dtype, (offset, shape, strides), metadata)


def rebuild_tensor_v3(storage: Any, *arguments: Any) -> Tensor | UnsupportedTensor:
    """Stand in for _rebuild_tensor_v3, whose storage is untyped."""
    offset, shape, strides, _grad, _hooks, dtype, *rest = arguments
    if isinstance(storage, Placeholder):
        return _unknown_storage(storage)
    if not isinstance(storage, Storage):
        raise damaged_pickle("a tensor has no storage")
    metadata = rest[0] if rest else None
    return _make_tensor(storage, _dtype_name(dtype), (offset, shape, strides), metadata)


def _unknown_storage(storage: Placeholder) -> UnsupportedTensor:
    return UnsupportedTensor(f"tensor that {storage.kind} stores", "the checkpoint with torch.save")


def _dtype_name(dtype: Any) -> str:
    """Return the name of a dtype; one that is not known keeps the name that torch gives it."""
    if not isinstance(dtype, NamedConstant | UnknownGlobal):
        raise damaged_pickle("a tensor has no dtype")
    return repr(dtype).removeprefix("torch.") if isinstance(dtype, UnknownGlobal) else dtype.name


def _make_tensor(
    storage: Storage, dtype: str, view: tuple[Any, Any, Any], metadata: Any
) -> Tensor | UnsupportedTensor:
    offset, shape, strides = view
    if type(shape) is not tuple or type(strides) is not tuple or len(shape) > MAX_DIMENSIONS:
        raise damaged_pickle("a tensor has an invalid shape")
    counts = (offset, *shape, *strides)
    if not all(map(is_small_count, counts)) or len(shape) != len(strides):
        raise damaged_pickle("a tensor has an invalid shape")
    flags = metadata if type(metadata) is dict else {}
    # The storage contains the values without the sign.
    if flags.get("neg"):
        return UnsupportedTensor("negated view", "tensor.resolve_neg()")
    return Tensor(storage, dtype, offset, shape, strides, conjugated=bool(flags.get("conj")))


def rebuild_device_tensor(
    data: Any, dtype: Any, _device: Any, _grad: Any
) -> Tensor | UnsupportedTensor | DeviceTensor:
    """Stand in for the functions that move a tensor of the CPU, or a numpy array, to a device."""
    name = _dtype_name(dtype)
    if isinstance(data, UnsupportedTensor) or (isinstance(data, Tensor) and data.dtype == name):
        return data
    if not isinstance(data, Tensor | Placeholder):
        raise damaged_pickle("a tensor of a device has no values")
    return DeviceTensor(data, name)


def unsupported(kind: str, remedy: str) -> Callable[..., UnsupportedTensor]:
    """Return a stand-in for a function that makes tensors of a kind that is not supported."""
    return lambda *_: UnsupportedTensor(kind, remedy)


rebuild_nested = unsupported("nested tensor", "tensor.to_padded_tensor(0)")
rebuild_quantized = unsupported("quantized tensor", "tensor.dequantize()")
rebuild_sparse = unsupported("sparse tensor", "tensor.to_dense()")
rebuild_uninitialized = unsupported(
    "parameter that is not initialized", "the model after its first forward pass"
)
rebuild_without_storage = unsupported(
    "tensor on the device 'meta', which has no values,", "the model with its weights loaded"
)


def rebuild_wrapper(kind: Any, *_: Any) -> UnsupportedTensor:
    """Stand in for _rebuild_wrapper_subclass: only the class knows where the values are."""
    return _unknown_class(kind)


def _unknown_class(kind: Any) -> UnsupportedTensor:
    name = repr(kind) if isinstance(kind, UnknownGlobal) else "an unknown class"
    return UnsupportedTensor(f"tensor of {name}", "a plain tensor of torch.Tensor")


def rebuild_parameter(data: Any, *_: Any) -> Any:
    """Stand in for the functions that make a parameter of a tensor."""
    return data


def rebuild_from_type(function: Any, kind: Any, arguments: Any, *_state: Any) -> AnyTensor:
    """Return a tensor without its Python attributes, which are not weights."""
    if type(arguments) is not tuple or not isinstance(kind, NamedConstant | UnknownGlobal):
        raise damaged_pickle("a tensor is built by an object that is not a function")
    if isinstance(function, UnknownGlobal | Placeholder):
        return Placeholder(function, (kind, arguments, *_state))
    if not callable(function) or function not in _REBUILD_FUNCTIONS:
        raise damaged_pickle("a tensor is built by an object that is not a function")
    if isinstance(kind, UnknownGlobal):
        return _unknown_class(kind)
    tensor: AnyTensor = function(*arguments)
    return tensor


_REBUILD_FUNCTIONS: Final = frozenset(
    {
        rebuild_device_tensor, rebuild_nested, rebuild_parameter, rebuild_quantized, rebuild_sparse,
        rebuild_tensor, rebuild_tensor_v3, rebuild_without_storage, rebuild_wrapper,
    }
)  # fmt: skip


def rebuild_old_tensor(tensor: Placeholder) -> Tensor | UnsupportedTensor:
    """Return the tensor that old releases of torch make of a class and a state.

    The state of a tensor is its storage, offset, shape and strides; that of a parameter begins with
    its tensor, and that of a parameter which has its tensor as an argument contains no values.
    """
    for _ in range(_MAX_WRAPPED):
        state = tensor.parts[-1] if tensor.parts else None
        if type(state) is tuple and len(state) == 4:
            return rebuild_tensor(*state)
        inner = state if type(state) is tuple and len(state) == 5 else tensor.arguments
        found = inner[0] if inner else None
        if isinstance(found, Tensor | UnsupportedTensor):
            return found
        if not isinstance(found, Placeholder) or not is_old_tensor(found):
            break
        tensor = found
    return UnsupportedTensor(f"{tensor.kind} without a storage", "the checkpoint again")


def is_old_tensor(value: Any) -> bool:
    """Return whether a value is a tensor that `rebuild_old_tensor` can make."""
    return isinstance(value, Placeholder) and isinstance(value.maker, TensorClass)


def is_small_count(value: object) -> bool:
    """Return whether a value is a size, an offset or a stride."""
    return type(value) is int and 0 <= value < 2**62
