"""Restore packed files to torch tensors and modules; needs ``import vggq.torch``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._packed_file import open_packed
from ..errors import MissingDependencyError

try:
    from . import _module, _tensor, _torch_dtypes
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        f"vggq.torch needs torch: {error}; without torch, `vggq.load` returns numpy arrays"
    ) from error

if TYPE_CHECKING:
    import torch
    from torch.nn.modules.module import _IncompatibleKeys

    from .._readable import Anchor, Readable

__all__ = ["load", "load_into"]


def load(
    source: Readable | Anchor,
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
        device: the device of the tensors, by default the CPU. For another device, codes and
            codebooks are moved, and the weights are looked up there. For CUDA, so are the levels
            of grids. The work is done on the current stream, and has the same bits as on the CPU.
        dtype: the dtype of floating-point tensors: float32 by default, or any floating-point
            dtype of torch for signed values. Finite values beyond its range become its largest
            finite value; in a dtype without infinities, infinite values do so as well. With
            ``"source"`` every tensor has its dtype in the source, and exactly stored tensors have
            all their bits.
        threads: as for `vggq.load`; for another device than the CPU at most 6 by default.
        max_bytes: as for `vggq.load`.

    Returns:
        The tensors by name. They are writable leaves without ``requires_grad``, in memory of their
        own. Tied tensors are one tensor.

    Raises:
        PackedFileError: the file is missing or unreadable.
        FormatError: the file is not a valid packed file, or the bytes of a tensor are damaged.
        LimitError: the file needs more memory than `max_bytes`; nothing was decoded.
        OptionError: `dtype` is invalid.

    """
    dtype_of = _torch_dtypes.resolve_torch_dtype(dtype)
    with open_packed(source, resource, dtype_of, max_bytes) as packed:
        return _tensor.restore_tensors(packed, device, dtype_of, threads)


def load_into(
    module: torch.nn.Module,
    source: Readable | Anchor,
    resource: str | None = None,
    *,
    strict: bool = True,
    assign: bool = False,
    threads: int | None = None,
    max_bytes: int | None = None,
) -> _IncompatibleKeys:
    """Fill a module's parameters and buffers, with the result of ``module.load_state_dict``.

    Weights are decoded directly into CPU memory of the module, without a second copy. If the file
    or the module has an error, the module is left unchanged; only an interrupt or a failing disk
    can leave some tensors filled and others not. Finite values beyond the range of a module's dtype
    become its largest finite value. A module with hooks or overridden methods for loading receives
    the restored tensors through its own ``load_state_dict``.

    Args:
        module: a module of any device and dtype; on the meta device only with `assign`.
        source: as for `vggq.open`.
        resource: as for `vggq.open`.
        strict: whether the names have to be exactly those of the module's state dict.
        assign: replace the module's tensors by new float32 tensors with their ``requires_grad``.
        threads: as for `vggq.load`.
        max_bytes: as for `vggq.load`, in float32.

    Returns:
        The `missing_keys` and `unexpected_keys`, as ``load_state_dict`` does.

    Raises:
        RuntimeError: keys are missing or unexpected, or shapes differ; the message is that of
            ``load_state_dict``.
        PackedFileError: the file is missing or unreadable.
        FormatError: the file is not a valid packed file, or the bytes of a tensor are damaged.
        LimitError: the file needs more memory than `max_bytes`; nothing was decoded.
        OptionError: the module is on the meta device, and `assign` is False.

    """
    dtype_of = _torch_dtypes.resolve_torch_dtype(None)
    with open_packed(source, resource, dtype_of, max_bytes) as packed:
        keys = None if assign else _module.fill(module, packed, strict=strict, threads=threads)
        if keys is not None:
            return keys
        state = _tensor.restore_tensors(packed, None, dtype_of, threads)
    return _module.load_state(module, state, strict=strict, assign=assign)
