"""Restore every tensor of a packed file, on the CPU or on another device."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Final

import torch

from .. import _load, _threads
from . import _grid, _on_cpu, _on_device, _torch_dtypes
from ._grid_parts import GridParts
from ._transfer import Transfers

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._manifest import TensorInfo
    from .._packed_file import PackedFile
    from ._on_device import Prepared
    from ._transfer import Move

# Default limit of threads: more of them delay the calling thread, which gives the device its work.
_MAX_THREADS: Final = 6


def restore_tensors(
    packed: PackedFile,
    device: torch.device | str | int | None,
    dtype_of: Callable[[TensorInfo], torch.dtype],
    threads: int | None,
) -> dict[str, torch.Tensor]:
    """Restore every tensor of an open packed file on a device.

    Args:
        packed: the packed file.
        device: as for `vggq.torch.load`.
        dtype_of: returns the dtype to restore a tensor as.
        threads: as for `vggq.load`.

    """
    # Resolved in the calling thread, because each thread has its own current device.
    resolved = torch.empty(0, device="cpu" if device is None else device).device
    names = list(_load.names_by_entry(packed).values())
    if not _on_device.decodes_with_numpy(resolved):
        restored = _restore_on_device(packed, names, resolved, dtype_of, threads)
        return _load.share_tied(packed, map(restored.__getitem__, names))
    buffers = packed.buffers()

    def restore(name: str) -> torch.Tensor:
        tensor = packed.tensors[name]
        dtype = dtype_of(tensor)
        numpy_dtype = _torch_dtypes.numpy_dtype(tensor, dtype)
        if numpy_dtype is None:
            return _on_cpu.restore_tensor(packed.content(name, buffers), tensor, dtype)
        return torch.from_numpy(packed.restore(name, numpy_dtype, buffers))

    return _load.share_tied(packed, _load.map_tensors(restore, packed, names, threads))


def _restore_on_device(
    packed: PackedFile,
    names: list[str],
    device: torch.device,
    dtype_of: Callable[[TensorInfo], torch.dtype],
    threads: int | None,
) -> dict[str, torch.Tensor]:
    """Restore tensors on a device, while threads decompress and move the next ones.

    Only the calling thread uses the device for more than copies: it has the settings and the stream
    of the caller.
    """
    infos = [packed.tensors[name] for name in names]
    dtypes = {tensor.name: dtype_of(tensor) for tensor in infos}
    restored: dict[str, torch.Tensor] = {}
    with Transfers() as transfers:
        move = partial(transfers.move, device=device)
        stream = torch.cuda.current_stream(device) if device.type == "cuda" else None

        def read(name: str) -> Prepared:
            tensor = packed.tensors[name]
            content = packed.content(name)
            prepared = _on_device.prepare(content, tensor, device, dtypes[name])
            if stream is not None:
                with torch.cuda.stream(stream):
                    _on_device.move_largest(prepared, move)
            return prepared

        order = _order_of_reading(infos)
        limit = _threads.default_for_loading(threads, _MAX_THREADS)
        grids = _Grids(packed, dtypes, move)
        results = _load.map_tensors(read, packed, order, limit, caller_works=False)
        # After an error here, such as a full device, the threads end before the file is closed.
        with closing(results):
            for name, prepared in zip(order, results, strict=True):
                if isinstance(prepared, GridParts):
                    restored |= grids.add(name, prepared)
                    continue
                tensor = packed.tensors[name]
                restored[name] = _on_device.restore_tensor(prepared, tensor, dtypes[name], move)
        restored |= grids.restore()
    return restored


class _Grids:
    """Grids that are restored together."""

    def __init__(self, packed: PackedFile, dtypes: dict[str, torch.dtype], move: Move) -> None:
        self._packed = packed
        self._dtypes = dtypes
        self._move = move
        self._waiting: dict[str, GridParts] = {}

    def add(self, name: str, parts: GridParts) -> dict[str, torch.Tensor]:
        """Add a grid; return the tensors of all grids if there are enough, else nothing."""
        self._waiting[name] = parts
        count = sum(self._packed.tensors[name].count for name in self._waiting)
        return self.restore() if count >= _grid.CHUNK else {}

    def restore(self) -> dict[str, torch.Tensor]:
        """Return the tensors of all grids that were added since the last time."""
        waiting, self._waiting = self._waiting, {}
        restored = _grid.restore_all(list(waiting.values()), self._move)
        return {
            name: _on_device.round_grid(weights, self._packed.tensors[name], self._dtypes[name])
            for name, weights in zip(waiting, restored, strict=True)
        }


def _order_of_reading(tensors: list[TensorInfo]) -> list[str]:
    """Return names in the order in which their contents will be there.

    Small tensors are read in the calling thread, while threads begin with the largest.
    """
    small = [tensor.name for tensor in tensors if tensor.count < _threads.MIN_THREADED]
    large = [tensor for tensor in tensors if tensor.count >= _threads.MIN_THREADED]
    large.sort(key=lambda tensor: tensor.count, reverse=True)
    return small + [tensor.name for tensor in large]
