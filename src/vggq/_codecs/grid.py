"""The ``grid`` codec: integer levels times a step size, in a basis of the tensor's own.

docs/format.md describes the content. The tensor is split into vectors of `taps` weights, along its
last axes or its first. Level t of every vector is in band t. If levels are dependent, the meaning
of a level depends on the parities of the levels before it in the band. The vectors may be stored in
another order, by rows of equal length. Or the tensor has scales, which come first (see `_scales`).
"""

from __future__ import annotations

from reprlib import repr as short
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import numpy as np

from .._rounding import MAX_FINITE
from ._bands import BandsDecoder
from ._grid_output import Places, VectorScaling
from ._levels import LevelDecoder
from ._scales import Slices
from ._scratch import borrow_scratch
from ._stored_bands import BAND_HEADER, parse_bands
from ._streams import MAX_LEVELS_PER_BYTE
from ._trellis import STATES
from ._vectors import exact_dtype, largest_sum, sum_chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._buffers import Buffer
    from ._scratch import Scratch

MAX_TAPS: Final = 128
MAX_ROWS: Final = 1 << 16
STEP_DTYPE: Final = np.dtype("<f4")
BASIS_DTYPE: Final = np.dtype("<i2")
ROW_DTYPE: Final = np.dtype("<u2")
_PARAMETER_TYPES: Final = {
    "taps": int, "first": bool, "rows": int, "dependent": int, "size": int,
}  # fmt: skip
# A level takes at most its byte, a byte of low bits, and the four bytes of an escape.
_MAX_BYTES_PER_LEVEL: Final = 6
# Weights to restore at a time: the intermediate results stay in the cache.
_CHUNK: Final = 1 << 18


# Dataclasses take many times as long to create, and the first load of a grid waits for this.
class _Parameters(NamedTuple):
    """The parameters of the codec for one tensor.

    Attributes:
        taps: the number of weights of a vector, 1 to 128; 1 means that there is no basis.
        first: whether the weights of a vector are along the first axes, not the last.
        rows: the number of rows of vectors that were reordered; 1 means that none were.
        dependent: the number of states of dependent levels; 1 means that levels are independent.
        size: bytes of the content.
        slices: the slices of the tensor that have scales; None if there are no scales. With scales,
            `rows` is 1.

    """

    taps: int
    first: bool
    rows: int
    dependent: int
    size: int
    slices: Slices | None = None


class Grid(_Parameters):
    """The ``grid`` codec with the parameters of one tensor."""

    __slots__ = ()

    NAME: ClassVar[str] = "grid"
    VALIDATES: ClassVar[bool] = True

    @classmethod
    def from_parameters(cls, parameters: dict[str, Any]) -> Grid:
        """Return the codec with the parameters of the manifest.

        Raises:
            ValueError: the parameters are invalid.

        """
        others = dict(parameters)
        slices = Slices.take_from(others)
        if {key: type(value) for key, value in others.items()} != _PARAMETER_TYPES:
            expected = ", ".join(
                f"{name}: {kind.__name__}" for name, kind in _PARAMETER_TYPES.items()
            )
            raise ValueError(f"expected the parameters {expected}, found {short(parameters)}")
        codec = cls(**others, slices=slices)
        if not (1 <= codec.taps <= MAX_TAPS and 1 <= codec.rows <= MAX_ROWS):
            raise ValueError(f"expected 1 to {MAX_TAPS} taps and 1 to {MAX_ROWS} rows")
        if slices and codec.rows > 1:
            raise ValueError(f"expected 1 row with scales, found {codec.rows}")
        if codec.dependent not in STATES:
            raise ValueError(
                f"dependent is {codec.dependent}, expected one of {', '.join(map(str, STATES))}"
            )
        return codec

    def parameters(self) -> dict[str, Any]:
        """Return the parameters as the manifest stores them."""
        scales = self.slices.parameters() if self.slices else {}
        return {name: getattr(self, name) for name in _PARAMETER_TYPES} | scales

    def content_size(self, count: int) -> int:
        """Return the bytes of the content of `count` weights.

        Raises:
            ValueError: `count` weights cannot be split into the vectors and rows, or cannot have
                `size` bytes.

        """
        if count % (self.taps * self.rows):
            raise ValueError(
                f"{count} weights cannot be split into {self.rows} rows of vectors of "
                f"{self.taps} weights"
            )
        if self.slices:
            self.slices.check_count(count)
        head = self._scales_size + STEP_DTYPE.itemsize + self._basis_size + self._order_size
        fixed = head + self.taps * BAND_HEADER.itemsize
        least, most = -(-count // MAX_LEVELS_PER_BYTE), _MAX_BYTES_PER_LEVEL * count
        if not fixed + least <= self.size <= fixed + most:
            raise ValueError(
                f"size is {self.size}, but {count} weights take {fixed + least} to {fixed + most}"
            )
        return self.size

    @property
    def _scales_size(self) -> int:
        return self.slices.size if self.slices else 0

    @property
    def _basis_size(self) -> int:
        return self.taps * self.taps * BASIS_DTYPE.itemsize if self.taps > 1 else 0

    @property
    def _order_size(self) -> int:
        return self.rows * ROW_DTYPE.itemsize if self.rows > 1 else 0

    def validate(self, content: Buffer, count: int) -> None:
        """Validate content of the right size, as `decode_into` does.

        Raises:
            ValueError: the step size is not a positive number, the row order is not a permutation,
                or a scale or a band is damaged.

        """
        with borrow_scratch() as scratch:
            self._read(content, count, scratch)

    def _read(
        self, content: Buffer, count: int, scratch: Scratch
    ) -> tuple[np.float32, NDArray[np.int16], NDArray[np.uint16], list[BandsDecoder]]:
        """Return the parts of content of the right size once they are validated."""
        if self.slices:
            self.slices.validate(content)
        step, basis, order, stored = self.split(content)
        if not 0 < step < np.inf:
            raise ValueError(f"the step size is {step}, expected a positive number")
        if not np.array_equal(np.sort(order), np.arange(order.size)):
            raise ValueError(f"the row order is not a permutation of 0..{order.size - 1}")
        levels = count // self.taps
        groups = parse_bands(stored, self.taps, levels)
        bands = [BandsDecoder(group, levels, scratch) for group in groups]
        return step, basis.reshape(self.taps, -1), order, bands

    def split(
        self, content: Buffer
    ) -> tuple[np.float32, NDArray[np.int16], NDArray[np.uint16], memoryview]:
        """Return the step size, the basis, the row order, and the bytes of the bands.

        The basis and the row order are flat, and empty if the content has none.
        """
        view = memoryview(content)[self._scales_size :]
        step: np.float32 = np.frombuffer(view, STEP_DTYPE, 1)[0]
        begin = STEP_DTYPE.itemsize
        end = begin + self._basis_size
        basis = np.frombuffer(view[begin:end], BASIS_DTYPE)
        order = np.frombuffer(view[end : end + self._order_size], ROW_DTYPE)
        return step, basis, order, view[end + self._order_size :]

    def decode_into(self, content: Buffer, out: NDArray[Any], *, chunk: int = _CHUNK) -> None:
        """Validate content, and restore it into a flat contiguous array of floating-point numbers.

        Each weight is an integer times the step size, rounded to float32, with scales multiplied by
        its scale and rounded again, and then rounded to the dtype of `out`. All of these saturate.

        Args:
            content: content of the right size.
            out: the array.
            chunk: about the number of weights to restore at a time.

        Raises:
            ValueError: the content is damaged; nothing was written.

        """
        if not out.size:
            self.validate(content, 0)
        else:
            with borrow_scratch() as scratch:
                self._decode_into(content, out, chunk, scratch)

    def _decode_into(
        self, content: Buffer, out: NDArray[Any], chunk: int, scratch: Scratch
    ) -> None:
        count = out.size // self.taps
        step, matrix, order, bands = self._read(content, out.size, scratch)
        levels = LevelDecoder(bands, count, self.dependent, scratch)
        if order.size and levels.can_reorder(order.size):
            levels.reorder(order)
            order = order[:0]
        largest_integer = largest_sum(levels.largest, matrix)
        largest = largest_integer * float(step)
        limit = min(MAX_FINITE["float32"], MAX_FINITE[out.dtype.name])
        scaling = VectorScaling(self, content, out, largest) if self.slices else None
        if scaling:
            limit = MAX_FINITE["float32"]
        dtype = exact_dtype(largest_integer)
        places = Places(self, order, out, dtype, scratch)
        with np.errstate(all="ignore"):
            for begin, sums in sum_chunks(
                levels.chunks(chunk), matrix, dtype=dtype, place=places.take, scratch=scratch
            ):
                # In float32, one rounding; it gives the same bits as the product in float64.
                values = np.multiply(sums, sums.dtype.type(step), out=sums)
                if largest > limit:
                    np.clip(values, -limit, limit, out=values)
                vectors = values.astype(np.float32, copy=False).T
                if scaling:
                    vectors = scaling.apply(vectors, begin)
                places.store(vectors, begin)

    def as_vectors(self, out: NDArray[Any], rows: int) -> NDArray[Any]:
        """Return a view of the tensor of shape (rows, vectors of a row, taps)."""
        if self.first:
            return out.reshape(self.taps, rows, -1).transpose(1, 2, 0)
        return out.reshape(rows, -1, self.taps)
