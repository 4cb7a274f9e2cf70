"""The division of content into zstd blocks, each with an entropy table of its own."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Costs = NDArray[np.int64]

MAX_BLOCK_SIZE: Final = 1 << 17
"""zstd divides larger blocks."""

# A block ends at the end of a piece.
_PIECE_SIZE: Final = 1 << 13
_MAX_PIECES: Final = 64
_SYMBOLS: Final = 256
# Costs are integers, so that the result does not depend on the machine. This is one bit.
_BIT: Final = 256
_BYTE: Final = 8 * _BIT
# A block and a table take about this many bytes, and some for each symbol of the table. A part of
# the bytes stands for the time to read a table.
_BLOCK_COST: Final = 60 * _BYTE
_SYMBOL_COST: Final = _BYTE // 2


def find_blocks(parts: Sequence[bytes]) -> list[bytes]:
    """Divide content into blocks so that it takes the fewest bytes after compression.

    Args:
        parts: the content, in parts with different statistics.

    """
    pieces = [
        part[begin : begin + _PIECE_SIZE]
        for part in parts
        for begin in range(0, len(part), _PIECE_SIZE)
    ]
    content = b"".join(pieces)
    ends = np.cumsum([0, *map(len, pieces)])
    begins = _find_begins(pieces, ends)
    blocks, end = [], len(pieces)
    while end:
        begin = int(begins[end])
        blocks.append(content[ends[begin] : ends[end]])
        end = begin
    return blocks[::-1]


def _find_begins(pieces: list[bytes], ends: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return for each number of pieces where the last block begins in the best division of them."""
    counts = np.zeros((len(pieces) + 1, _SYMBOLS), np.int64)
    for index, piece in enumerate(pieces):
        counts[index + 1] = np.bincount(np.frombuffer(piece, np.uint8), minlength=_SYMBOLS)
    np.cumsum(counts, axis=0, out=counts)
    best = np.zeros(len(pieces) + 1, np.int64)
    begins = np.zeros(len(pieces) + 1, np.intp)
    for end in range(1, len(pieces) + 1):
        first = max(np.searchsorted(ends, ends[end] - MAX_BLOCK_SIZE), end - _MAX_PIECES)
        costs = best[first:end] + _block_costs(counts[end] - counts[first:end])
        begins[end] = first + costs.argmin()
        best[end] = costs.min()
    return begins


def _block_costs(counts: Costs) -> Costs:
    """Return the cost of a block for each row of counts of symbols."""
    logs = _weighted_logs()
    sizes = counts.sum(axis=1)
    entropies = logs.take(sizes) - logs.take(counts).sum(axis=1)
    # A Huffman code takes at least one bit for each byte.
    coded = np.maximum(entropies, sizes * _BIT)
    coded += _SYMBOL_COST * np.count_nonzero(counts, axis=1)
    costs: Costs = _BLOCK_COST + np.minimum(coded, sizes * _BYTE)
    return costs


@cache
def _weighted_logs() -> Costs:
    """Return n log2(n) for each n up to the size of a block, in units of cost."""
    numbers = np.arange(MAX_BLOCK_SIZE + 1)
    logs: Costs = np.rint(numbers * np.log2(np.maximum(numbers, 1)) * _BIT).astype(np.int64)
    return logs
