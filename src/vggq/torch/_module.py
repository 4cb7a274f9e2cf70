"""Loading into a module: decoding into its memory, and restoring it after an error."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from .. import _load
from . import _on_cpu, _on_device, _plan, _torch_dtypes
from ._transfer import Transfers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .._buffers import Buffer
    from .._manifest import TensorInfo
    from .._packed_file import PackedFile


def fill(module: torch.nn.Module, packed: PackedFile, *, strict: bool, threads: int | None) -> Any:
    """Decode an open packed file into the memory of a module.

    Returns:
        The result of ``load_state_dict``, or None if the module has its own way of loading, and
        was not changed.

    Raises:
        RuntimeError: keys or shapes do not match.
        OptionError: the module is on the meta device.
        DataError: the bytes of a tensor are damaged; the module was not changed.

    """
    _plan.reject_meta(module, packed)
    plan = _plan.plan_load(module, packed, strict=strict)
    if plan is None:
        return None
    _run_copies(packed, plan.copies, threads)
    return plan.keys


def _run_copies(packed: PackedFile, copies: list[_plan.PlannedCopy], threads: int | None) -> None:
    """Make planned copies; every packed tensor is validated before the first copy.

    Raises:
        DataError: the bytes of a tensor are damaged.

    """
    names = {copy.source for copy in copies if isinstance(copy.source, str)}
    content_of = _load.validate_all(packed, sorted(names), threads)
    direct: list[tuple[str, NDArray[Any]]] = []
    with torch.no_grad(), Transfers() as transfers:
        for copy in copies:
            if not isinstance(copy.source, str):
                copy.target.copy_(copy.source)
            elif _can_decode_into(copy.target, packed.tensors[copy.source]):
                direct.append((copy.source, copy.target.detach().numpy()))
                # Lets autograd detect that values it saved have changed.
                torch.autograd.graph.increment_version(copy.target)
            else:
                content = content_of(copy.source)
                tensor = packed.tensors[copy.source]
                copy.target.copy_(_restore_like(copy.target, content, tensor, transfers))
    _load.decode_all_into(packed, direct, content_of, threads)


def _can_decode_into(target: torch.Tensor, tensor: TensorInfo) -> bool:
    """Whether the tensor can be decoded into the memory of the target."""
    return (
        _plan.is_ordinary(target)
        and target.device.type == "cpu"
        and target.is_contiguous()
        and not target.is_inference()
        and _torch_dtypes.numpy_dtype(tensor, target.dtype) is not None
    )


def _restore_like(
    target: torch.Tensor, content: Buffer, tensor: TensorInfo, transfers: Transfers
) -> torch.Tensor:
    """Restore a tensor on the target's device; in its dtype if both are floating-point."""
    is_floating = _torch_dtypes.holds_weights(target.dtype) and _torch_dtypes.is_floating(tensor)
    dtype = target.dtype if is_floating else _torch_dtypes.default_dtype(tensor)
    device = target.device
    if _on_device.decodes_with_numpy(device):
        return _on_cpu.restore_tensor(content, tensor, dtype)
    prepared = _on_device.prepare(content, tensor, device, dtype)
    move = partial(transfers.move, device=device)
    return _on_device.restore_tensor(prepared, tensor, dtype, move)


def load_state(
    module: torch.nn.Module, state: dict[str, torch.Tensor], *, strict: bool, assign: bool
) -> Any:
    """Call ``load_state_dict``; if it fails, the module is left unchanged.

    Unless `assign`, values are limited to the range of the module's tensor of the same name, so
    that they do not become infinite when the module copies them.
    """
    if not assign:
        state = _limit_to_module(module, state)
    with _unchanged_on_error(module, assign=assign):
        return module.load_state_dict(state, strict=strict, assign=assign)


def _limit_to_module(
    module: torch.nn.Module, state: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    targets = dict(module.named_parameters(remove_duplicate=False))
    targets |= dict(module.named_buffers(remove_duplicate=False))

    def limit(name: str, tensor: torch.Tensor) -> torch.Tensor:
        target = targets.get(name)
        if target is None or not tensor.dtype.is_floating_point:
            return tensor
        if not _torch_dtypes.holds_weights(target.dtype):
            return tensor
        return torch.from_numpy(_torch_dtypes.limit_to(tensor.numpy(), target.dtype))

    return {name: limit(name, tensor) for name, tensor in state.items()}


@contextmanager
def _unchanged_on_error(module: torch.nn.Module, *, assign: bool) -> Iterator[None]:
    """Put back the module's tensors if the block fails, with their values unless `assign`."""
    tables = [table for m in module.modules() for table in (m._parameters, m._buffers)]  # noqa: SLF001
    before = [dict(table) for table in tables]
    tensors = [] if assign else [t for table in before for t in table.values() if _has_values(t)]
    values = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for tensor, value in zip(tensors, values, strict=True):
                tensor.copy_(value)
        for table, entries in zip(tables, before, strict=True):
            table.clear()
            table.update(entries)
        raise


def _has_values(tensor: torch.Tensor | None) -> bool:
    return tensor is not None and not torch.nn.parameter.is_lazy(tensor)
