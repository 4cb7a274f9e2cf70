"""Grids on a device: the bytes of the levels are moved, and everything else is done there.

The sums of products with the basis are sums of integers, which float64 represents exactly. They are
calculated without a matrix product, which settings of torch could make less exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from .._codecs._streams import ESCAPE
from .._codecs._trellis import LANE_SIZE
from ._scales import multiply_by_scales
from ._trellis import resolve_levels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ._grid_parts import GridParts
    from ._transfer import Move

CHUNK: Final = 1 << 23
"""Weights to restore at a time. Each takes up to 28 bytes meanwhile."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Consecutive vectors of one grid.

    Attributes:
        parts: the parts of the grid, whose levels are on the device.
        begin: the index of the first vector; lanes and bytes of low bits begin there.
        end: the index after the last vector.
        weights: the weights of all vectors of the grid, of shape (taps, vectors), to be written.
        escapes: the value of each escape.
        places: the index of each escape among the levels in whole lanes; None if the device finds
            the escapes.

    """

    parts: GridParts
    begin: int
    end: int
    weights: torch.Tensor
    escapes: NDArray[np.int32]
    places: NDArray[np.int64] | None

    @property
    def shape(self) -> tuple[int, int]:
        """The number of bands, and the number of levels of each in whole lanes."""
        return self.parts.codec.taps, -(-(self.end - self.begin) // LANE_SIZE) * LANE_SIZE

    @property
    def size(self) -> int:
        """The number of levels in whole lanes."""
        return math.prod(self.shape)


def restore_all(grids: list[GridParts], move: Move, *, chunk: int = CHUNK) -> list[torch.Tensor]:
    """Return the weights of each grid: flat, in float32, and none of them infinite.

    Several grids are restored at once, because each operation takes time, even on few weights.

    Args:
        grids: the parts of the grids.
        move: moves values to the device.
        chunk: about the number of weights to restore at a time.

    """
    pieces: list[_Piece] = []
    placed = []
    for parts in grids:
        parts.levels = stored = move(parts.levels)
        shape = parts.codec.taps, parts.vectors
        weights = torch.empty(shape, dtype=torch.float32, device=stored.device)
        pieces += _split(parts, weights, chunk)
        placed.append(weights)
    for batch in _join(pieces, chunk):
        _restore_batch(batch, move)
    return [_place(weights, parts, move) for weights, parts in zip(placed, grids, strict=True)]


def _split(parts: GridParts, weights: torch.Tensor, chunk: int) -> Iterator[_Piece]:
    length = max(chunk // parts.codec.taps // LANE_SIZE, 1) * LANE_SIZE
    if parts.vectors <= length:
        yield _Piece(parts, 0, parts.vectors, weights, parts.escapes, None)
        return
    bands, places = np.divmod(np.flatnonzero(parts.upper == ESCAPE), parts.vectors)
    for begin in range(0, parts.vectors, length):
        end = min(begin + length, parts.vectors)
        inside = (begin <= places) & (places < end)
        padded = -(-(end - begin) // LANE_SIZE) * LANE_SIZE
        index = bands[inside] * padded + (places[inside] - begin)
        yield _Piece(parts, begin, end, weights, parts.escapes[inside], index)


def _join(pieces: list[_Piece], chunk: int) -> Iterator[list[_Piece]]:
    """Yield batches of about `chunk` levels, all with the same number of states."""
    for _, group in groupby(pieces, lambda piece: piece.parts.codec.dependent):
        batch: list[_Piece] = []
        for piece in group:
            if batch and sum(other.size for other in batch) + piece.size > chunk:
                yield batch
                batch = []
            batch.append(piece)
        yield batch


def _restore_batch(batch: list[_Piece], move: Move) -> None:
    """Write the weights of pieces with the same number of states, but not yet to their places."""
    states = batch[0].parts.codec.dependent
    sizes = [piece.size for piece in batch]
    levels = torch.empty(sum(sizes), dtype=torch.int32, device=batch[0].weights.device)
    for piece, part in zip(batch, levels.split(sizes), strict=True):
        _read_levels(piece, part.view(piece.shape), move)
    values = resolve_levels(levels, states) if states > 1 else levels.double()
    for piece, part in zip(batch, values.split(sizes), strict=True):
        _multiply(piece, part.view(piece.shape)[:, : piece.end - piece.begin], move)


def _read_levels(piece: _Piece, levels: torch.Tensor, move: Move) -> None:
    """Write the levels of all bands; zeros follow up to a whole lane."""
    parts, begin, end, size = piece.parts, piece.begin, piece.end, piece.end - piece.begin
    stored = move(parts.levels)
    upper = stored[: parts.codec.taps * parts.vectors].view(torch.int8)
    upper = upper.view(parts.codec.taps, -1)[:, begin:end]
    if size < levels.shape[1]:
        levels[:, size:] = 0
    for bands, shift, offset in parts.groups():
        out = levels[bands, :size]
        if shift:
            rows = bands.stop - bands.start
            low = stored[offset : offset + rows * -(-parts.vectors * shift // 8)].view(rows, -1)
            low = _unpack(low[:, begin * shift // 8 : -(-end * shift // 8)], shift)[:, :size]
            torch.add(low, upper[bands], alpha=1 << shift, out=out)
        else:
            out.copy_(upper[bands])
    if not piece.escapes.size:
        return
    if piece.places is None:
        levels[:, :size].masked_scatter_(upper == ESCAPE, move(piece.escapes))
    else:
        levels.view(-1)[move(piece.places)] = move(piece.escapes)


def _unpack(low: torch.Tensor, width: int) -> torch.Tensor:
    """Return the numbers of `width` bits in each byte of each row."""
    if width == 8:
        return low
    shifts = torch.arange(0, 8, width, dtype=torch.uint8, device=low.device)
    numbers = (low[:, :, None] >> shifts).bitwise_and_((1 << width) - 1)
    return numbers.view(len(low), -1)


def _multiply(piece: _Piece, values: torch.Tensor, move: Move) -> None:
    """Write the products of values, basis and step size, rounded to float32; changes the values."""
    sums = values
    if values.shape[0] > 1:
        # From 0 on, so that no sum is -0.
        sums = torch.zeros_like(values)
        for factors, band in zip(move(piece.parts.basis)[:, :, None], values, strict=True):
            sums.addcmul_(factors, band)
    limit = torch.finfo(torch.float32).max
    piece.weights[:, piece.begin : piece.end] = sums.mul_(piece.parts.step).clamp_(-limit, limit)


def _place(weights: torch.Tensor, parts: GridParts, move: Move) -> torch.Tensor:
    """Return weights of shape (taps, vectors) in the order of the tensor, flat, and scaled."""
    placed = weights.view(parts.codec.taps, parts.codec.rows, -1)
    if parts.order.size:
        placed = placed.index_select(1, move(parts.order))
    if not parts.codec.first:
        placed = placed.permute(1, 2, 0)
    placed = placed.reshape(-1)
    if parts.codec.slices:
        multiply_by_scales(placed, parts.codec.slices, move(parts.scales))
    return placed
