"""Copies of host memory to devices, which go on while the host works."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from numpy.typing import NDArray

    Move = Callable[[NDArray[Any] | torch.Tensor], torch.Tensor]
    """Returns a tensor with the same values on a device."""

# Bytes of host memory to keep for copies that may not have ended.
_MAX_PENDING: Final = 1 << 28


class Transfers:
    """Copies to devices, on the current stream of each; a context manager that waits for them.

    CUDA copies without waiting for the work that is queued on the stream. Host memory is kept until
    the copies from it have ended. Any number of threads may move values at once.

    Args:
        max_pending: bytes of host memory to keep at most, apart from the last tensors.

    Attributes:
        pending: bytes of host memory that are kept.

    """

    def __init__(self, max_pending: int = _MAX_PENDING) -> None:
        self.pending = 0
        self._max_pending = max_pending
        self._kept: list[torch.Tensor] = []
        self._devices: set[torch.device] = set()
        self._lock = threading.Lock()

    def move(self, values: NDArray[Any] | torch.Tensor, device: torch.device) -> torch.Tensor:
        """Return a tensor with the same values on the device.

        Args:
            values: a contiguous array, which may be read-only, or a tensor; must not change.
            device: the device, with its index if it has one.

        """
        if not isinstance(values, torch.Tensor):
            values = torch.from_numpy(_writable(values))
        if device.type != "cuda" or values.device == device:
            return values.to(device)
        moved = values.to(device, non_blocking=True)
        with self._lock:
            self._kept.append(values)
            self._devices.add(device)
            self.pending += values.nbytes
        if self.pending > self._max_pending:
            self.wait()
        return moved

    def wait(self) -> None:
        """Wait until all copies have ended."""
        with self._lock:
            kept, self._kept = self._kept, []
            self.pending = 0
        for device in self._devices.copy():
            torch.cuda.current_stream(device).synchronize()
        kept.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.wait()


class _WritableView:
    """The memory of an array, as writable memory: torch warns about any other."""

    def __init__(self, array: NDArray[Any]) -> None:
        interface = array.__array_interface__
        self._array = array
        self.__array_interface__ = interface | {"data": (interface["data"][0], False)}


def _writable(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that torch accepts without a warning; nobody may write to it."""
    return array if array.flags.writeable else np.asarray(_WritableView(array))
