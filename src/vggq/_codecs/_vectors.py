"""Vectors of the ``grid`` codec: levels to sums in the basis, and weights to their places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from ._scratch import Scratch

# float32 represents every integer up to this one, so that sums up to it are exact in any order.
_MAX_EXACT_FLOAT32: Final = 1 << 24
# OpenBLAS starts threads of its own for products of more multiplications; they would compete with
# the threads that decode other tensors. Products of fewer columns would cost more than that.
_MAX_UNTHREADED_PRODUCT: Final = 1 << 18
_MIN_COLUMNS: Final = 64


def sum_chunks(
    chunks: Iterable[tuple[int, NDArray[Any]]],
    basis: NDArray[np.int16],
    *,
    dtype: np.dtype[Any],
    place: Callable[[int, int], NDArray[Any]],
    scratch: Scratch,
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield multiples.T @ basis, as exact integers in a floating-point dtype.

    Args:
        chunks: the index of the first vector of a chunk, and its multiples of the step size, of
            shape (taps, vectors).
        basis: of shape (taps, taps), or empty.
        dtype: a result of `exact_dtype`.
        place: returns memory for the sums of the vectors between two indices, of shape
            (taps, vectors) and of `dtype`.
        scratch: memory for values.

    Yields:
        The index of the first vector, and the sums.

    """
    # Contiguous: OpenBLAS takes twice as long for a transposed matrix of this size.
    matrix = np.ascontiguousarray(basis.T, dtype)
    for begin, multiples in chunks:
        sums = place(begin, begin + multiples.shape[1])
        if basis.size:
            values = scratch.take("values", multiples.shape, dtype)
            values[:] = multiples
            _multiply(matrix, values, sums)
        else:
            sums[:] = multiples
        yield begin, sums


def exact_dtype(largest: int) -> np.dtype[Any]:
    """Return the dtype in which sums up to the absolute value `largest` are exact in any order."""
    return np.dtype(np.float32 if largest < _MAX_EXACT_FLOAT32 else np.float64)


def largest_sum(largest: list[int], basis: NDArray[np.int16]) -> int:
    """Return an upper bound of the absolute values of the sums.

    Args:
        largest: an upper bound of the absolute values of the multiples of each band.
        basis: of shape (taps, taps), or empty.

    """
    factors = np.abs(basis.astype(np.int64)).max(axis=1) if basis.size else [1]
    return sum(level * int(factor) for level, factor in zip(largest, factors, strict=True))


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
        vectors: of shape (n, taps).
        begin: the index of the first of them.
        order: the index in `target` of each row; empty if the rows are in the order of the tensor.
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
