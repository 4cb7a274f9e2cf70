"""Vectors of the ``grid`` codec: levels to sums in the basis, and weights to their places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ._trellis import resolve_levels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from ._bands import BandDecoder
    from ._scratch import Scratch

# float32 represents every integer up to this one, so that sums up to it are exact in any order.
_MAX_EXACT_FLOAT32: Final = 1 << 24
# OpenBLAS starts threads of its own for products of more multiplications; they would compete with
# the threads that decode other tensors. Products of fewer columns would cost more than that.
_MAX_UNTHREADED_PRODUCT: Final = 1 << 18
_MIN_COLUMNS: Final = 64
# Multiples of the step size below this fit into int16.
_INT16_LEVELS: Final = 1 << 15
# Levels of a band, and of all bands, to decode at a time. Those of a band stay in the cache
# meanwhile. Fewer and longer calls of numpy leave the interpreter to other threads.
_MAX_BAND_LEVELS: Final = 1 << 17
_MAX_LEVELS: Final = 1 << 21


def sum_chunks(
    bands: list[BandDecoder],
    basis: NDArray[np.int16],
    length: int,
    *,
    states: int,
    dtype: np.dtype[Any],
    place: Callable[[int, int], NDArray[Any]],
    scratch: Scratch,
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield multiples.T @ basis in chunks of vectors, as exact integers in a floating-point dtype.

    Args:
        bands: the bands.
        basis: of shape (taps, taps), or empty.
        length: the number of vectors of a chunk; a multiple of the lane size, unless it is the
            number of all vectors.
        states: the number of states of dependent levels; 1 if levels are independent.
        dtype: a result of `exact_dtype`.
        place: returns memory for the sums of the vectors between two indices, of shape
            (taps, vectors) and of `dtype`.
        scratch: memory for the levels.

    Yields:
        The index of the first vector, and the sums.

    """
    matrix: NDArray[Any] = basis.T.astype(dtype)
    for start, levels in _decode_parts(bands, length, states, scratch):
        for begin in range(0, levels.shape[1], length):
            multiples = levels[:, begin : begin + length]
            sums = place(start + begin, start + begin + multiples.shape[1])
            if basis.size:
                values = scratch.take("values", multiples.shape, dtype)
                values[:] = multiples
                _multiply(matrix, values, sums)
            else:
                sums[:] = multiples
            yield start + begin, sums


def exact_dtype(largest: int) -> np.dtype[Any]:
    """Return the dtype in which sums up to the absolute value `largest` are exact in any order."""
    return np.dtype(np.float32 if largest < _MAX_EXACT_FLOAT32 else np.float64)


def _decode_parts(
    bands: list[BandDecoder], length: int, states: int, scratch: Scratch
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield parts of the bands, whole chunks of `length` levels, as multiples of the step size.

    Yields:
        The index of the first level, and an array of shape (bands, levels), valid until the next
        part.

    """
    count = bands[0].count
    size = min(_MAX_BAND_LEVELS, _MAX_LEVELS // len(bands)) // length * length or length
    size = min(size, count)
    largest = max(band.largest for band in bands) << (states > 1)
    dtype = np.dtype(np.int16 if largest < _INT16_LEVELS else np.int32)
    for begin in range(0, count, size):
        levels = scratch.take("levels", (len(bands), min(size, count - begin)), dtype)
        for band, row in zip(bands, levels, strict=True):
            band.decode_into(row, begin)
        if states > 1:
            resolve_levels(levels, states)
        yield begin, levels


def largest_sum(bands: list[BandDecoder], basis: NDArray[np.int16], *, states: int) -> int:
    """Return an upper bound of the absolute values of the sums, for arguments of `sum_chunks`."""
    factors = np.abs(basis.astype(np.int64)).max(axis=1) if basis.size else [1]
    return sum(
        (band.largest << (states > 1)) * int(factor)
        for band, factor in zip(bands, factors, strict=True)
    )


def _multiply(matrix: NDArray[Any], values: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
    """Write matrix @ values to `out`, in parts for which OpenBLAS starts no threads."""
    taps, count = values.shape
    columns = max(_MIN_COLUMNS, _MAX_UNTHREADED_PRODUCT // matrix.size)
    whole = count // columns * columns
    if whole:
        # One call for all parts of the same size: arrays of shape (parts, taps, columns).
        parts, products = (
            array[:, :whole].reshape(taps, -1, columns).swapaxes(0, 1) for array in (values, out)
        )
        np.matmul(matrix, parts, out=products)
    if whole < count:
        np.matmul(matrix, values[:, whole:], out=out[:, whole:])
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
