"""Packed files to torch tensors and into modules; imported by itself, as ``import vggq.torch``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._packed_file import open_packed
from ..errors import MissingDependencyError

try:
    from . import _module, _plan, _tensor, _torch_dtypes
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        f"vggq.torch needs torch: {error}; `vggq.load` gives numpy arrays without it"
    ) from error

if TYPE_CHECKING:
    import torch
    from torch.nn.modules.module import _IncompatibleKeys

    from .._reader import Package, Readable

__all__ = ["load", "load_into"]


def load(
    source: Readable | Package,
    resource: str | None = None,
    *,
    device: torch.device | str | int | None = None,
    dtype: torch.dtype | str | None = None,
    threads: int | None = None,
    max_bytes: int | None = None,
) -> dict[str, torch.Tensor]:
    """Restore every tensor of a packed file.

    Args:
        source: as for `vggq.open`.
        resource: as for `vggq.open`.
        device: where the tensors are to be, the CPU by default. What is moved to another device
            are codes and codebooks, and the weights are put together there.
        dtype: what floating point is restored as: float32 by default, or any floating-point
            dtype of torch. With ``"source"`` every tensor has the dtype it had in the source,
            and those that were stored exactly have all its bits.
        threads: as for `vggq.load`.
        max_bytes: as for `vggq.load`.

    Returns:
        The tensors by name: writable, leaves that ask for no gradient, with memory of their
        own. Tied tensors are one tensor.

    Raises:
        PackedFileError: there is no such file, or it cannot be read.
        FormatError: it is no sound packed file, or a tensor's bytes are damaged.
        LimitError: it takes more than `max_bytes`; nothing was decoded.
        OptionError: `dtype` is none of these.

    """
    dtype_of = _torch_dtypes.resolve_dtype(dtype)
    with open_packed(source, resource, dtype_of, max_bytes) as packed:
        return _tensor.restore_all(packed, device, dtype_of, threads)


def load_into(
    module: torch.nn.Module,
    source: Readable | Package,
    resource: str | None = None,
    *,
    strict: bool = True,
    assign: bool = False,
    threads: int | None = None,
    max_bytes: int | None = None,
) -> _IncompatibleKeys:
    """Fill a module's parameters and buffers, as ``module.load_state_dict`` would.

    Weights are decoded to where they belong, without a second copy of them, where that is plain
    memory of the CPU. The module is as it was when a file or a module is not as it should be; an
    interruption, or a disk that fails between two readings, may leave some of it filled.

    A module that loads in a way of its own, by hooks or by a method that it overrides, gets the
    restored tensors through its own ``load_state_dict``.

    Args:
        module: of any device and dtype. One on the meta device has no memory to be filled.
        source: as for `vggq.open`.
        resource: as for `vggq.open`.
        strict: whether the names have to be exactly those of the module's state dict.
        assign: put fresh float32 tensors in place of those of the module, whose
            ``requires_grad`` they take over; this is for modules on the meta device.
        threads: as for `vggq.load`.
        max_bytes: as for `vggq.load`, in float32.

    Returns:
        What ``load_state_dict`` does: `missing_keys` and `unexpected_keys`.

    Raises:
        RuntimeError: keys are missing or unexpected, or shapes differ, in the words of
            ``load_state_dict``.
        PackedFileError: there is no such file, or it cannot be read.
        FormatError: it is no sound packed file, or a tensor's bytes are damaged.
        LimitError: it takes more than `max_bytes`; nothing was decoded.
        OptionError: the module is on the meta device, and `assign` is False.

    """
    dtype_of = _torch_dtypes.resolve_dtype(None)
    with open_packed(source, resource, dtype_of, max_bytes) as packed:
        if not assign:
            _plan.refuse_meta(module, packed)
            found = _plan.plan(module, packed, strict=strict)
            if found is not None:
                _module.fill(packed, found.copies, threads)
                return found.keys
        state = _tensor.restore_all(packed, None, dtype_of, threads)
    with _module.unchanged_on_error(module, assign=assign):
        return module.load_state_dict(state, strict=strict, assign=assign)
