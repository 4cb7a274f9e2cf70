"""What a page shows of each tensor, as numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..._codecs import Grid
from ..._codecs.grid import STEP
from ..._weights import packed_file
from ..codecs.grid.transform import SCALE
from ..comparison import largest_error, restored
from ..verification import check_facts, check_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ..._manifest import TensorInfo
    from ..._weights import Weights
    from ..sources import SourceTensor

_BINS: Final = 80
_MOST_CENTROIDS: Final = 256


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values lie between neighbouring edges: `counts` of (n,), `edges` of (n + 1,)."""

    counts: NDArray[np.intp]
    edges: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GridStep:
    """How far apart levels are: `step` in units of the weights, in a basis of `taps` vectors."""

    step: float
    taps: int


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn of a tensor.

    Attributes:
        weights: of the source, where there is one; as restored, where not.
        codebook: the distinct restored values; None where nothing was quantized, or where there
            are more than 256.
        errors: of the restored weights; None without a source, and where nothing was quantized.
        grid: what its levels are multiples of, where there are any.

    """

    weights: Histogram
    codebook: NDArray[Any] | None
    errors: Histogram | None
    grid: GridStep | None = None


@dataclass(frozen=True, slots=True)
class TensorNumbers:
    """One tensor of a packed file.

    Attributes:
        info: what the manifest says of it.
        size: its bytes in the file.
        largest: the largest absolute error; None where there is no source to tell.
        drawing: None where it is not drawn.

    """

    info: TensorInfo
    size: int
    largest: float | None
    drawing: Drawing | None

    @property
    def bits(self) -> float:
        """Bits of the file for each element; 0 where there are none."""
        return 8 * self.size / self.info.count if self.info.count else 0.0


def gather(
    weights: Weights,
    source: Sequence[SourceTensor] | None,
    draw: int,
    advance: Callable[[int, int], None] = lambda *_: None,
) -> list[TensorNumbers]:
    """The numbers of every tensor, in the file's order; those of the `draw` largest to be drawn.

    Raises:
        VerificationError: the source's tensors are not those that were packed.
        SourceError: a tensor of the source cannot be read.
        DataError: a tensor's bytes are damaged.

    """
    theirs = {tensor.name: tensor for tensor in source} if source is not None else None
    if theirs is not None:
        check_names(set(weights), set(theirs))
    drawn = set(_largest(weights, draw))
    numbers = []
    for done, (name, info) in enumerate(weights.tensors.items(), 1):
        size = weights.stored_size(name)
        read = theirs[name] if theirs is not None else None
        largest, drawing = _look(weights, info, read, draw=name in drawn)
        numbers.append(TensorNumbers(info, size, largest, drawing))
        advance(done, len(weights))
    return numbers


def _largest(weights: Weights, count: int) -> list[str]:
    return sorted(weights, key=weights.stored_size, reverse=True)[:count]


def _look(
    weights: Weights, info: TensorInfo, source: SourceTensor | None, *, draw: bool
) -> tuple[float | None, Drawing | None]:
    """The largest error and the drawing; decodes only what they need."""
    if source is not None:
        check_facts(info, source)
    if not info.quantized:
        largest = None if source is None else 0.0
        return largest, Drawing(_histogram(weights[info.name]), None, None) if draw else None
    values = None if source is None else restored(source)
    array = weights[info.name] if draw or values is not None else None
    largest = None if values is None or array is None else largest_error(values, array)
    if array is None or not draw:
        return largest, None
    return largest, replace(_drawing(array, values), grid=_grid_step(weights, info))


def _drawing(array: NDArray[Any], values: NDArray[Any] | None) -> Drawing:
    codebook = np.unique(array)
    shown = codebook if codebook.size <= _MOST_CENTROIDS else None
    if values is None:
        return Drawing(_histogram(array), shown, None)
    errors = array.astype(np.float64) - values
    return Drawing(_histogram(values), shown, _histogram(errors))


def _grid_step(weights: Weights, info: TensorInfo) -> GridStep | None:
    if not isinstance(info.codec, Grid):
        return None
    (step,) = np.frombuffer(packed_file(weights).content(info.name), STEP, 1)
    taps = info.codec.taps
    # Vectors of a basis are `SCALE` long.
    return GridStep(float(step) * (SCALE if taps > 1 else 1), taps)


def _histogram(values: NDArray[Any]) -> Histogram:
    finite = values.astype(np.float64).reshape(-1)
    return Histogram(*np.histogram(finite[np.isfinite(finite)], _BINS))
