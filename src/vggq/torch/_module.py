"""The values of a module's tensors: written where they belong, or put back."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from .. import _load
from . import _tensor, _torch_dtypes
from ._plan import is_ordinary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from .._buffers import Buffer
    from .._manifest import TensorInfo
    from .._packed_file import PackedFile
    from ._plan import Copy


def fill(packed: PackedFile, copies: list[Copy], threads: int | None) -> None:
    """Do the copies; nothing is changed before all that is to be read is known to be sound.

    Raises:
        DataError: a tensor's bytes are damaged.

    """
    names = {copy.source for copy in copies if isinstance(copy.source, str)}
    content = _load.validate_all(packed, sorted(names), threads)
    direct: list[tuple[str, NDArray[Any]]] = []
    with torch.no_grad():
        for copy in copies:
            if not isinstance(copy.source, str):
                copy.target.copy_(copy.source)
            elif _is_direct(copy.target, packed.tensors[copy.source]):
                direct.append((copy.source, copy.target.detach().numpy()))
                # What autograd has kept of the old values is to show as changed.
                torch.autograd.graph.increment_version(copy.target)
            else:
                copy.target.copy_(_like(copy.target, packed, copy.source, content))
    _load.decode_all_into(packed, direct, content, threads)


def _is_direct(target: torch.Tensor, tensor: TensorInfo) -> bool:
    return (
        is_ordinary(target)
        and target.device.type == "cpu"
        and target.is_contiguous()
        and not target.is_inference()
        and _torch_dtypes.shared(tensor, target.dtype) is not None
    )


def _like(
    target: torch.Tensor, packed: PackedFile, name: str, content: Callable[[str], Buffer]
) -> torch.Tensor:
    """A tensor where the target is, of its dtype where floating point is to stay such."""
    tensor = packed.tensors[name]
    floating = target.dtype.is_floating_point and _torch_dtypes.is_floating(tensor)
    dtype = target.dtype if floating else _torch_dtypes.natural(tensor)
    return _tensor.restore(content(name), tensor, target.device, dtype)


@contextmanager
def unchanged_on_error(module: torch.nn.Module, *, assign: bool) -> Iterator[None]:
    """Put back parameters, buffers and, unless they are only replaced, their values."""
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
