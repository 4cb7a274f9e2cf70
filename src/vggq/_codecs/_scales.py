"""Scales: factors of the slices of a tensor along one axis.

The content of a codec with scales begins with the scales, each the upper half of a float32 (a
bfloat16). The rest is decoded as without scales. Then each weight is multiplied by the scale of its
slice in float32, and rounded once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._buffers import Buffer

SCALE_DTYPE: Final = np.dtype("<u2")
MAX_SCALE: Final = 0x7F7F
"""The bits of the largest finite scale. Those of negative and infinite scales and NaN exceed it."""

# Weights to multiply at a time: they are still in the cache after they were looked up.
_CHUNK: Final = 1 << 17
# Codes of this number of weights begin and end at whole bytes.
_ALIGNMENT: Final = 8
# Below this number of weights, a product with a single scale takes longer than repeating the scale.
_MIN_RUN: Final = 64
_MIN_PATTERN: Final = 1 << 13


# Dataclasses take many times as long to create, and every process that imports vggq creates this.
class Slices(NamedTuple):
    """The slices of a tensor along one axis: weight i is in slice i // run % scales.

    Attributes:
        scales: the number of slices, each of which has a scale.
        run: the number of consecutive weights, in C order, that are in the same slice.

    """

    scales: int
    run: int

    @classmethod
    def take_from(cls, parameters: dict[str, Any]) -> Slices | None:
        """Remove the parameters of scales from those of a codec, and return the slices.

        Returns:
            The slices; None if there are no such parameters.

        Raises:
            ValueError: the parameters are invalid.

        """
        found = {name: parameters.pop(name) for name in ("scales", "run") if name in parameters}
        if not found:
            return None
        if len(found) != 2 or not all(type(n) is int and n >= 1 for n in found.values()):
            raise ValueError("expected scales and run, both at least 1")
        return cls(**found)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters as the manifest stores them."""
        return self._asdict()

    @property
    def size(self) -> int:
        """Bytes of the scales."""
        return self.scales * SCALE_DTYPE.itemsize

    @property
    def period(self) -> int:
        """The number of weights after which the same scales follow again."""
        return self.scales * self.run

    def check_count(self, count: int) -> None:
        """Check that a tensor of `count` weights can have these slices.

        Raises:
            ValueError: it cannot.

        """
        if not count or count % self.period:
            raise ValueError(
                f"{count} weights cannot be split into {self.scales} slices of runs of {self.run}"
            )

    def read(self, content: Buffer) -> NDArray[np.float32]:
        """Return the scales at the beginning of the content."""
        return widen_scales(self._bits(content))

    def validate(self, content: Buffer) -> None:
        """Validate the scales at the beginning of the content.

        Raises:
            ValueError: a scale is negative, infinite or NaN.

        """
        if self._bits(content).max() > MAX_SCALE:
            raise ValueError("a scale is not a finite number of at least 0")

    def _bits(self, content: Buffer) -> NDArray[np.uint16]:
        return np.frombuffer(content, SCALE_DTYPE, self.scales)


def widen_scales(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the float32 values of scales, which are stored as the upper halves of their bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


class Scaler:
    """Multiplies the weights of a tensor by their scales, in chunks.

    Args:
        slices: the slices of the tensor.
        scales: the scale of each slice.
        chunk: about the number of weights to multiply at a time.

    Attributes:
        chunk: the number of weights of every chunk but the last, a multiple of 8.

    """

    def __init__(self, slices: Slices, scales: NDArray[np.float32], chunk: int = _CHUNK) -> None:
        self._slices = slices
        self._scales = scales
        self._pattern: NDArray[np.float32] | None = None
        if slices.run < _MIN_RUN and slices.period <= chunk:
            # The scales of weights that begin anywhere in a period. Few long products take less
            # time than many short ones, and a short pattern leaves the cache to the weights.
            self.chunk = chunk
            self._length = -(-_MIN_PATTERN // slices.period) * slices.period
            repeated = np.repeat(scales, slices.run)
            self._pattern = np.tile(repeated, self._length // slices.period + 1)
        else:
            # Whole runs, if there is room for them.
            unit = math.lcm(slices.run, _ALIGNMENT)
            self.chunk = chunk // unit * unit or chunk

    def multiply(self, weights: NDArray[np.float32], begin: int) -> None:
        """Multiply consecutive weights in place.

        Args:
            weights: the weights, contiguous in memory.
            begin: the index in the tensor of the first of them.

        """
        for start in range(0, weights.size, self.chunk):
            self._multiply_chunk(weights[start : start + self.chunk], begin + start)

    def _multiply_chunk(self, weights: NDArray[np.float32], begin: int) -> None:
        if self._pattern is not None:
            _multiply_rows(weights, self._pattern[begin % self._slices.period :][: self._length])
            return
        run = self._slices.run
        first, offset = divmod(begin, run)
        runs = np.arange(first, -(-(begin + weights.size) // run))
        scales = self._scales.take(runs, mode="wrap")
        if run < _MIN_RUN:
            weights *= np.repeat(scales, run)[offset : offset + weights.size]
        else:
            _multiply_runs(weights, scales, run, offset)


def _multiply_rows(weights: NDArray[np.float32], factors: NDArray[np.float32]) -> None:
    """Multiply rows of weights in place by the same factors; the last row may be incomplete."""
    whole = weights.size // factors.size * factors.size
    rows = weights[:whole].reshape(-1, factors.size)
    rows *= factors
    weights[whole:] *= factors[: weights.size - whole]


def _multiply_runs(
    weights: NDArray[np.float32], scales: NDArray[np.float32], run: int, offset: int
) -> None:
    """Multiply runs of weights in place, each by one scale; the first and last may be incomplete.

    Args:
        weights: the weights.
        scales: the scale of each run.
        run: the number of weights of a run.
        offset: the number of weights that are missing at the beginning of the first run.

    """
    head = min(-offset % run, weights.size)
    if head:
        weights[:head] *= scales[0]
        weights, scales = weights[head:], scales[1:]
    whole = weights.size // run
    body = weights[: whole * run].reshape(whole, run)
    body *= scales[:whole, None]
    if weights.size > whole * run:
        weights[whole * run :] *= scales[-1]
