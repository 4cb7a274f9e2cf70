"""What ``load_state_dict`` would copy where, found by asking it and letting it copy nothing."""

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
class Copy:
    """A tensor to be written to, and the name of what, or another tensor, to write."""

    target: torch.Tensor
    source: str | torch.Tensor


@dataclass(frozen=True, slots=True)
class Plan:
    """What `load_state_dict` returns, and what it would have copied."""

    keys: Any
    copies: list[Copy]


class _Recorder(TorchFunctionMode):
    """Notes every ``copy_`` in place of doing it."""

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


def plan(module: torch.nn.Module, packed: PackedFile, *, strict: bool) -> Plan | None:
    """Let ``load_state_dict`` say what is to be copied; None if the module does more than that.

    Raises:
        RuntimeError: what it raises; nothing was copied.

    """
    if not all(map(_is_plain, module.modules())) or _swaps():
        return None
    stand_ins = {
        name: torch.empty(tensor.shape, device="meta") for name, tensor in packed.tensors.items()
    }
    names = {id(tensor): name for name, tensor in stand_ins.items()}
    with _Recorder() as recorder:
        keys = module.load_state_dict(stand_ins, strict=strict)
    copies = [Copy(target, names.get(id(source), source)) for target, source in recorder.copies]
    if any(isinstance(copy.source, torch.Tensor) and copy.source.is_meta for copy in copies):
        # Made from a stand-in: a tensor of no dimension is taken out of one of one.
        return None
    # Tied tensors are one memory under several names, of which the last counts.
    last = {_memory(copy.target): copy for copy in copies}
    return Plan(keys, list(last.values()))


def _is_plain(module: torch.nn.Module) -> bool:
    """Whether nothing but torch's own code has a part in the loading of this one module."""
    methods = (module.load_state_dict, module._load_from_state_dict, module.set_extra_state)  # noqa: SLF001
    hooks = (module._load_state_dict_pre_hooks, module._load_state_dict_post_hooks)  # noqa: SLF001
    return not any(hooks) and all(
        method.__module__.startswith("torch.nn.modules.") for method in methods
    )


def _swaps() -> bool:
    return bool(torch.__future__.get_swap_module_params_on_conversion())


def _memory(tensor: torch.Tensor) -> tuple[Any, ...]:
    if is_ordinary(tensor) and tensor.numel():
        return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device
    return (id(tensor),)


def is_ordinary(tensor: torch.Tensor) -> bool:
    """Whether it is nothing but a block of memory."""
    return type(tensor) in {torch.Tensor, torch.nn.Parameter} and tensor.layout == torch.strided


def refuse_meta(module: torch.nn.Module, packed: PackedFile) -> None:
    """Refuse a module of which what is to be filled is on the meta device.

    Raises:
        OptionError: it is.

    """
    held = [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]
    for name, tensor in held:
        if tensor.is_meta and name in packed.tensors:
            problem = f"is False, and {name!r} is on the meta device: there is nothing to fill"
            raise OptionError([("assign", problem)])
