"""The ``grid`` codec: integer levels times a step, in a basis of the tensor's own.

docs/format.md describes the content. A tensor is seen as vectors of `taps` weights, its last axes
or its first, the vectors in `rows` of one length; the levels t of all vectors make up band t. With
`dependent`, what a level stands for depends on the parities of those before it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from ._bands import HEADER, Band, check, parse
from ._streams import MOST_ZEROS
from ._trellis import LANE, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .._buffers import Buffer

MAX_TAPS: Final = 128
MAX_ROWS: Final = 1 << 16
STEP: Final = np.dtype("<f4")
BASIS: Final = np.dtype("<i2")
ROW: Final = np.dtype("<u2")
# Weights at a time: what becomes of them stays in the cache.
_PIECE: Final = 1 << 18
# Up to here float32 holds every integer, so that sums of them are exact in any order.
_EXACT: Final = 1 << 24
# OpenBLAS takes up to so many multiplications for too few to share among threads of its own, which
# would get in the way of those that decode other tensors; but few columns at a time cost more.
_UNSHARED: Final = 1 << 18
_LEAST_COLUMNS: Final = 64
# Levels of half the range, so that twice one fits.
_SHORT: Final = 1 << 14
# A level takes no more than its byte, its low bits and the four bytes of an escape.
_MOST_PER_LEVEL: Final = 6
_TYPES: Final = {"taps": int, "first": bool, "rows": int, "dependent": bool, "size": int}


@dataclass(frozen=True, slots=True)
class Grid:
    """Levels in bands.

    Attributes:
        taps: weights of a vector, 1 to 128; 1 is no basis.
        first: whether a vector's weights lie along the first axes, and not along the last.
        rows: in how many rows of vectors the tensor was put in another order; 1 is none.
        dependent: whether levels depend on those before.
        size: bytes of the content.

    """

    NAME: ClassVar[str] = "grid"

    taps: int
    first: bool
    rows: int
    dependent: bool
    size: int

    @classmethod
    def from_parameters(cls, parameters: dict[str, Any]) -> Grid:
        if {key: type(value) for key, value in parameters.items()} != _TYPES:
            raise ValueError(f"expected {', '.join(_TYPES)}")
        codec = cls(**parameters)
        if not (1 <= codec.taps <= MAX_TAPS and 1 <= codec.rows <= MAX_ROWS):
            raise ValueError(f"expected up to {MAX_TAPS} taps and {MAX_ROWS} rows")
        return codec

    def parameters(self) -> dict[str, Any]:
        return asdict(self)

    def content_size(self, count: int) -> int:
        """Bytes of the content of `count` weights.

        Raises:
            ValueError: no content of so many has `size` bytes, or they are no whole rows.

        """
        heads = STEP.itemsize + self._basis_size + self._order_size + self.taps * HEADER.itemsize
        if count % (self.taps * self.rows):
            raise ValueError(f"{count} weights are not {self.rows} rows of {self.taps} taps")
        if not heads + -(-count // MOST_ZEROS) <= self.size <= heads + _MOST_PER_LEVEL * count:
            raise ValueError(f"{self.size} bytes do not hold {count} weights")
        return self.size

    @property
    def _basis_size(self) -> int:
        return self.taps * self.taps * BASIS.itemsize if self.taps > 1 else 0

    @property
    def _order_size(self) -> int:
        return self.rows * ROW.itemsize if self.rows > 1 else 0

    def validate(self, content: Buffer, count: int) -> None:
        """Prove a content of the right size.

        Raises:
            ValueError: the step is no number above 0, the rows are in no order, or a band is
                damaged.

        """
        step, _, order, bands = self._split(content)
        if not 0 < step < np.inf:
            raise ValueError(f"the step is {step}")
        if not np.array_equal(np.sort(order), np.arange(order.size)):
            raise ValueError("the order of the rows is none")
        length = count // self.taps
        for band in parse(bands, self.taps, length):
            check(band, length)

    def _split(
        self, content: Buffer
    ) -> tuple[np.float32, NDArray[np.int16], NDArray[np.uint16], memoryview]:
        view = memoryview(content)
        step: np.float32 = np.frombuffer(view, STEP, 1)[0]
        begin, end = STEP.itemsize, STEP.itemsize + self._basis_size
        basis = np.frombuffer(view[begin:end], BASIS)
        order = np.frombuffer(view[end : end + self._order_size], ROW)
        return step, basis, order, view[end + self._order_size :]

    def decode_into(self, content: Buffer, out: NDArray[Any]) -> None:
        """Restore a proved content into `out`, contiguous, of one dimension, of a floating dtype.

        Every weight is the nearest float32 of the step times an integer, converted to the dtype
        of `out`.
        """
        count = out.size // self.taps
        if not count:
            return
        step, basis, order, stored = self._split(content)
        bands = [Band(band, count) for band in parse(stored, self.taps, count)]
        pieces = _integers(bands, basis.reshape(self.taps, -1), count, dependent=self.dependent)
        target = self._vectors(out)
        for begin, integers in pieces:
            with np.errstate(over="ignore"):
                # The sums are exact: this is the one rounding.
                values = np.multiply(integers, integers.dtype.type(step), out=integers)
                _place(values.astype(np.float32, copy=False).T, begin, order, target)

    def _vectors(self, out: NDArray[Any]) -> NDArray[Any]:
        """A view of shape (rows, vectors of each, taps)."""
        if self.first:
            return out.reshape(self.taps, self.rows, -1).transpose(1, 2, 0)
        return out.reshape(self.rows, -1, self.taps)


def _integers(
    bands: list[Band], basis: NDArray[np.int16], count: int, *, dependent: bool
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Where each piece of levels.T @ basis begins, and it: of shape (taps, vectors), and exact.

    It is good until the next. Levels and sums are in memory that stays in the cache.
    """
    largest = [band.largest << dependent for band in bands]
    weights = np.abs(basis.astype(np.int64)).max(axis=1) if basis.size else [1]
    bound = sum(level * int(weight) for level, weight in zip(largest, weights, strict=True))
    exact = np.float32 if bound < _EXACT else np.float64
    matrix: NDArray[Any] = basis.T.astype(exact)
    length = min(-(-_PIECE // len(bands) // LANE) * LANE, count)
    floats = np.empty((2, len(bands) * length), exact)
    buffer = np.empty((len(bands), length), np.int16 if max(largest) < _SHORT else np.int64)
    for begin in range(0, count, length):
        levels = buffer[:, : min(length, count - begin)]
        for band, row in zip(bands, levels, strict=True):
            band.write(begin, row)
        if dependent:
            resolve(levels)
        values, sums = floats[:, : levels.size].reshape(2, *levels.shape)
        values[:] = levels
        yield begin, _product(matrix, values, sums) if basis.size else values


def _product(matrix: NDArray[Any], values: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
    """Write matrix @ values to `out`, in parts that OpenBLAS leaves to this thread."""
    part = max(_LEAST_COLUMNS, _UNSHARED // matrix.size)
    for begin in range(0, values.shape[1], part):
        piece = np.s_[:, begin : begin + part]
        np.matmul(matrix, values[piece], out=out[piece])
    return out


def _place(
    values: NDArray[np.float32], begin: int, order: NDArray[np.uint16], target: NDArray[Any]
) -> None:
    """Put vectors from `begin` on into the rows of `target` where they belong."""
    length = target.shape[1]
    end = begin + len(values)
    while begin < end:
        row, offset = divmod(begin, length)
        # Whole rows at once, but for those that a piece begins or ends in.
        rows = max(1, (end - begin) // length) if not offset else 1
        size = min(rows * length - offset, end - begin)
        places = order[row : row + rows] if order.size else slice(row, row + rows)
        part, values = values[:size], values[size:]
        if size == rows * length:
            target[places] = part.reshape(rows, length, -1)
        else:
            target[places, offset : offset + size] = part
        begin += size
