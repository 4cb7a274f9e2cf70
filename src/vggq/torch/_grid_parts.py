"""The content of a grid, split into what a device needs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from .._codecs._stored_bands import BAND_HEADER, parse_bands
from .._codecs._streams import Plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from numpy.typing import NDArray

    from .._buffers import Buffer
    from .._codecs import Grid
    from .._codecs._stored_bands import StoredBands


@dataclass(slots=True)
class GridParts:
    """The parts of a grid, in the form in which a device uses them.

    Attributes:
        codec: the codec.
        vectors: the number of vectors, at least 1.
        scales: the scale of each slice; empty if there are no scales.
        step: the step size.
        basis: of shape (taps, taps), float64; empty if there is no basis.
        order: the index of the stored row of each row; empty if the rows were not reordered.
        shifts: the number of low bits of each band.
        levels: the signed bytes of all levels, of shape (taps, vectors), then the low bits.
        upper: the signed bytes of all levels, on the CPU.
        escapes: the value of each escape.

    """

    codec: Grid
    vectors: int
    scales: NDArray[np.float32]
    step: float
    basis: NDArray[np.float64]
    order: NDArray[np.int64]
    shifts: list[int]
    levels: NDArray[np.uint8] | torch.Tensor
    upper: NDArray[np.int8]
    escapes: NDArray[np.int32]

    def groups(self) -> Iterator[tuple[slice, int, int]]:
        """Yield neighboring bands with the same number of low bits.

        Yields:
            The bands, the number of low bits, and the index of the first byte of low bits.

        """
        begin, offset = 0, self.codec.taps * self.vectors
        for shift, group in groupby(self.shifts):
            end = begin + len(list(group))
            yield slice(begin, end), shift, offset
            offset += (end - begin) * -(-self.vectors * shift // 8)
            begin = end


def split_content(content: Buffer, codec: Grid, count: int) -> GridParts:
    """Split the validated content of `count` weights, at least 1."""
    step, basis, order, stored = codec.split(content)
    vectors = count // codec.taps
    bands = parse_bands(stored, codec.taps, vectors)
    levels = _join_levels(stored, bands, vectors)
    return GridParts(
        codec=codec,
        vectors=vectors,
        scales=codec.slices.read(content) if codec.slices else np.empty(0, np.float32),
        step=float(step),
        basis=basis.reshape(codec.taps, -1).astype(np.float64),
        order=np.argsort(order),
        shifts=[kind.shift for group in bands for kind in group.kinds],
        levels=levels,
        upper=levels[: codec.taps * vectors].view(np.int8),
        escapes=np.concatenate([group.escapes for group in bands]),
    )


def _join_levels(stored: memoryview, bands: list[StoredBands], vectors: int) -> NDArray[np.uint8]:
    """Return the signed bytes of all levels, then the low bits; a view if no stream has runs."""
    kinds = [kind for group in bands for kind in group.kinds]
    if all(isinstance(kind, Plain) for kind in kinds):
        size = sum(group.streams.size + group.low.size for group in bands)
        return np.frombuffer(stored, np.uint8, size, len(kinds) * BAND_HEADER.itemsize)
    upper = [group.expand(vectors).view(np.uint8).reshape(-1) for group in bands]
    return np.concatenate([*upper, *(group.low for group in bands)])
