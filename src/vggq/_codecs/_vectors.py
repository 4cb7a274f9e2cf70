"""Vectors of the ``grid`` codec: levels to sums in the basis, and weights to their places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ._trellis import resolve_levels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ._bands import BandDecoder

# float32 represents every integer up to this one, so that sums up to it are exact in any order.
_MAX_EXACT_FLOAT32: Final = 1 << 24
# Levels below this can be doubled in int16.
_INT16_LEVELS: Final = 1 << 14
# OpenBLAS starts threads of its own for products of more multiplications; they would compete with
# the threads that decode other tensors. Products of fewer columns would cost more than that.
_MAX_UNTHREADED_PRODUCT: Final = 1 << 18
_MIN_COLUMNS: Final = 64


def sum_chunks(
    bands: list[BandDecoder],
    basis: NDArray[np.int16],
    count: int,
    length: int,
    *,
    states: int,
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield levels.T @ basis in chunks of vectors, as exact integers in a floating-point dtype.

    Args:
        bands: the bands.
        basis: of shape (taps, taps), or empty.
        count: the number of vectors.
        length: the number of vectors of a chunk; a multiple of the lane size unless it is `count`.
        states: the number of states of dependent levels; 1 if levels are independent.

    Yields:
        The index of the first vector, and an array of shape (taps, vectors), valid until the
        next chunk.

    """
    is_exact_in_float32 = largest_sum(bands, basis, states=states) < _MAX_EXACT_FLOAT32
    exact = np.float32 if is_exact_in_float32 else np.float64
    matrix: NDArray[Any] = basis.T.astype(exact)
    # Memory that all chunks use, so that it stays in the cache.
    floats = np.empty((2, len(bands) * length), exact)
    largest = max(band.largest for band in bands) << (states > 1)
    level_dtype = np.int16 if largest < _INT16_LEVELS else np.int64
    integers = np.empty((len(bands), length), level_dtype)
    for begin in range(0, count, length):
        levels = integers[:, : min(length, count - begin)]
        for band, row in zip(bands, levels, strict=True):
            band.decode_into(row, begin)
        if states > 1:
            resolve_levels(levels, states)
        values, sums = floats[:, : levels.size].reshape(2, *levels.shape)
        values[:] = levels
        yield begin, _multiply(matrix, values, sums) if basis.size else values


def largest_sum(bands: list[BandDecoder], basis: NDArray[np.int16], *, states: int) -> int:
    """Return an upper bound of the absolute values of the sums, for arguments of `sum_chunks`."""
    factors = np.abs(basis.astype(np.int64)).max(axis=1) if basis.size else [1]
    return sum(
        (band.largest << (states > 1)) * int(factor)
        for band, factor in zip(bands, factors, strict=True)
    )


def _multiply(matrix: NDArray[Any], values: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
    """Write matrix @ values to `out`, in parts for which OpenBLAS starts no threads."""
    columns = max(_MIN_COLUMNS, _MAX_UNTHREADED_PRODUCT // matrix.size)
    for begin in range(0, values.shape[1], columns):
        part = np.s_[:, begin : begin + columns]
        np.matmul(matrix, values[part], out=out[part])
    return out


def store_vectors(
    vectors: NDArray[np.float32], begin: int, order: NDArray[np.uint16], target: NDArray[Any]
) -> None:
    """Store vectors in the rows where they belong.

    Args:
        vectors: of shape (n, taps), in stored order.
        begin: the index of the first of them in stored order.
        order: the index in `target` of each stored row; empty if the rows were not reordered.
        target: of shape (rows, vectors of a row, taps).

    """
    length = target.shape[1]
    end = begin + len(vectors)
    while begin < end:
        row, offset = divmod(begin, length)
        # All whole rows at once; a chunk may begin or end within a row.
        rows = max(1, (end - begin) // length) if not offset else 1
        size = min(rows * length - offset, end - begin)
        places = order[row : row + rows] if order.size else slice(row, row + rows)
        part, vectors = vectors[:size], vectors[size:]
        if size == rows * length:
            target[places] = part.reshape(rows, length, -1)
        else:
            target[places, offset : offset + size] = part
        begin += size
