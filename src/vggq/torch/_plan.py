"""The copies that ``load_state_dict`` would make, recorded while it copies nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from ..errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .._packed_file import PackedFile


@dataclass(frozen=True, slots=True)
class PlannedCopy:
    """A tensor to write to, and the source: the name of a packed tensor, or a tensor."""

    target: torch.Tensor
    source: str | torch.Tensor


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """The result of ``load_state_dict``, and the copies that it would make."""

    keys: Any
    copies: list[PlannedCopy]


class _CopyRecorder(TorchFunctionMode):
    """Records calls of ``copy_`` instead of executing them."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.Tensor.copy_:
            self.copies.append((args[0], args[1]))
            return args[0]
        return func(*args, **(kwargs or {}))


def plan_load(module: torch.nn.Module, packed: PackedFile, *, strict: bool) -> LoadPlan | None:
    """Call ``load_state_dict`` with tensors on the meta device, and record what it would copy.

    Returns:
        The plan, or None if the module does anything but copy tensors.

    Raises:
        RuntimeError: keys or shapes do not match; nothing was copied.

    """
    if not all(map(_has_default_loading, module.modules())) or _swaps_tensors():
        return None
    stand_ins = {
        name: torch.empty(tensor.shape, device="meta") for name, tensor in packed.tensors.items()
    }
    names = {id(tensor): name for name, tensor in stand_ins.items()}
    with _CopyRecorder() as recorder:
        keys = module.load_state_dict(stand_ins, strict=strict)
    copies = [
        PlannedCopy(target, names.get(id(source), source)) for target, source in recorder.copies
    ]
    if any(isinstance(copy.source, torch.Tensor) and copy.source.is_meta for copy in copies):
        # Derived from a stand-in: load_state_dict takes a scalar out of a tensor of shape (1,).
        return None
    # Tied tensors share memory under several names; the last copy determines the values.
    last = {_memory_key(copy.target): copy for copy in copies}
    return LoadPlan(keys, list(last.values()))


def _has_default_loading(module: torch.nn.Module) -> bool:
    """Whether this module, apart from its children, is loaded only by code of torch."""
    methods = (module.load_state_dict, module._load_from_state_dict, module.set_extra_state)  # noqa: SLF001
    hooks = (module._load_state_dict_pre_hooks, module._load_state_dict_post_hooks)  # noqa: SLF001
    return not any(hooks) and all(
        method.__module__.startswith("torch.nn.modules.") for method in methods
    )


def _swaps_tensors() -> bool:
    return bool(torch.__future__.get_swap_module_params_on_conversion())


def _memory_key(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Return a key that tensors have in common if they are the same view of the same memory."""
    if is_ordinary(tensor) and tensor.numel():
        return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device
    return (id(tensor),)


def is_ordinary(tensor: torch.Tensor) -> bool:
    """Whether the tensor is a strided block of memory, and not of a subclass."""
    return type(tensor) in {torch.Tensor, torch.nn.Parameter} and tensor.layout == torch.strided


def reject_meta(module: torch.nn.Module, packed: PackedFile) -> None:
    """Check that no tensor to fill is on the meta device, where it has no memory.

    Raises:
        OptionError: a tensor is on the meta device.

    """
    tensors = [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]
    for name, tensor in tensors:
        if tensor.is_meta and name in packed.tensors:
            problem = f"expected True, because {name!r} is on the meta device and cannot be filled"
            raise OptionError([("assign", problem)])
