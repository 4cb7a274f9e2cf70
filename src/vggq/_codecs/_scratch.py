"""Memory for intermediate results, which each thread keeps until a packed file is closed.

Fresh memory for every tensor would take longer than the calculations in it, because the system
clears each page when it is first touched.
"""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .._huge_pages import HUGE, empty_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class Scratch:
    """Memory by its use."""

    def __init__(self) -> None:
        self._blocks: dict[str, memoryview] = {}
        self._arrays: dict[str, NDArray[Any]] = {}

    def take(
        self, use: str, shape: tuple[int, ...], dtype: np.dtype[Any], *, huge: bool = False
    ) -> NDArray[Any]:
        """Return an array of any content, valid until the same use is taken again.

        Its shape, dtype and flags must not be changed: the next call may return it again.

        Args:
            use: the name of the use.
            shape: the shape of the array.
            dtype: the dtype of the array.
            huge: whether even a small array should be in a huge page.

        """
        last = self._arrays.get(use)
        if last is not None and last.shape == shape and last.dtype == dtype:
            return last
        size = math.prod(shape) * dtype.itemsize
        block = self._blocks.get(use)
        if block is None or len(block) < size:
            block = self._blocks[use] = empty_bytes(max(size, HUGE) if huge else size)
        array = self._arrays[use] = np.frombuffer(block[:size], dtype).reshape(shape)
        return array


_local = threading.local()


@contextmanager
def borrow_scratch() -> Iterator[Scratch]:
    """Yield the scratch memory of this thread.

    A signal handler that decodes meanwhile gets other memory.
    """
    scratch = _local.__dict__.pop("scratch", None) or Scratch()
    try:
        yield scratch
    finally:
        _local.scratch = scratch


def release_scratch() -> None:
    """Give the scratch memory of all threads back, except where it is in use."""
    global _local  # noqa: PLW0603 - threads that go on would keep theirs otherwise
    _local = threading.local()
