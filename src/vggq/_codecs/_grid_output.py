"""The output of the ``grid`` codec: scales of vectors, and the places of their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._rounding import MAX_FINITE
from ._scales import Scaler
from ._vectors import store_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._buffers import Buffer
    from ._scratch import Scratch
    from .grid import Grid


class Places:
    """The places of the weights of a tensor.

    Sums that need neither another dtype nor another order are written where they belong.

    Args:
        codec: the codec.
        order: the row order of the vectors to store; empty if they come in the tensor's order.
        out: the flat array that the weights will be stored in.
        dtype: the dtype of the sums.
        scratch: memory for the sums of a chunk.

    """

    def __init__(
        self,
        codec: Grid,
        order: NDArray[np.uint16],
        out: NDArray[Any],
        dtype: np.dtype[Any],
        scratch: Scratch,
    ) -> None:
        self._order = order
        self._target = codec.as_vectors(out, order.size or 1)
        self._is_direct = not order.size and out.dtype == dtype == np.float32
        self._is_first = codec.first
        self._dtype = dtype
        self._scratch = scratch

    def take(self, begin: int, end: int) -> NDArray[Any]:
        """Return memory for the sums of some vectors, of shape (taps, vectors)."""
        if self._is_direct:
            return self._target[0, begin:end].T
        # In the layout of the tensor, so that storing them copies whole runs.
        taps = self._target.shape[2]
        if self._is_first:
            return self._scratch.take("sums", (taps, end - begin), self._dtype)
        return self._scratch.take("sums", (end - begin, taps), self._dtype).T

    def store(self, vectors: NDArray[np.float32], begin: int) -> None:
        """Store vectors from index `begin` on."""
        if not self._is_direct:
            store_vectors(vectors, begin, self._order, self._target)


class VectorScaling:
    """Multiplies vectors by the scales of their weights.

    Args:
        codec: the codec, with slices.
        content: the content.
        out: the flat array that the weights will be stored in.
        largest: an upper bound of the absolute values of the weights without scales.

    """

    def __init__(self, codec: Grid, content: Buffer, out: NDArray[Any], largest: float) -> None:
        assert codec.slices
        scales = codec.slices.read(content)
        self._codec = codec
        self._count = out.size // codec.taps
        self._scaler = Scaler(codec.slices, scales)
        self._limit = min(MAX_FINITE["float32"], MAX_FINITE[out.dtype.name])
        self._saturates = largest * float(scales.max()) > self._limit

    def apply(self, vectors: NDArray[np.float32], begin: int) -> NDArray[np.float32]:
        """Return the products, in the range of the array that they will be stored in.

        Args:
            vectors: of shape (n, taps), the transposed view of a contiguous array that may be
                changed.
            begin: the index of the first of them.

        """
        if self._codec.first:
            for tap, weights in enumerate(vectors.T):
                self._scaler.multiply(weights, tap * self._count + begin)
        else:
            vectors = np.ascontiguousarray(vectors)
            self._scaler.multiply(vectors.reshape(-1), begin * self._codec.taps)
        if self._saturates:
            np.clip(vectors, -self._limit, self._limit, out=vectors)
        return vectors
