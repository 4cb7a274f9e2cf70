"""Statistics of the tensors of a packed file, for its page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..._codecs import Grid
from ..._codecs.grid import STEP_DTYPE
from ..._weights import underlying_file
from ..codecs.grid.transform import BASIS_SCALE
from ..comparison import largest_error, restored_array
from ..verification import check_same_names, check_shape_and_dtype
from .histograms import GridStep, TensorHistograms, make_histogram, make_histograms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..._manifest import TensorInfo
    from ..._weights import Weights
    from ..sources import SourceTensor


@dataclass(frozen=True, slots=True)
class TensorStats:
    """A tensor of a packed file.

    Attributes:
        info: its description in the manifest.
        size: its bytes in the file.
        max_error: the largest absolute error; None without a source.
        histograms: None if no histogram of this tensor is drawn.

    """

    info: TensorInfo
    size: int
    max_error: float | None
    histograms: TensorHistograms | None

    @property
    def bits_per_weight(self) -> float:
        """Bits of the file per element; 0 for an empty tensor."""
        return 8 * self.size / self.info.count if self.info.count else 0.0


def collect_stats(
    weights: Weights,
    source: Sequence[SourceTensor] | None,
    histograms: int,
    advance: Callable[[int, int], None] = lambda *_: None,
) -> list[TensorStats]:
    """Return the statistics of every tensor, in the order of the file.

    Args:
        weights: the open packed file.
        source: the tensors of its source, if errors are to be measured.
        histograms: the number of tensors, the largest ones, that get histograms.
        advance: called with the number of tensors done, and the total.

    Raises:
        VerificationError: the tensors of the source are not those that were packed.
        SourceError: a tensor of the source cannot be read.
        DataError: the bytes of a tensor are damaged.

    """
    originals = {tensor.name: tensor for tensor in source} if source is not None else None
    if originals is not None:
        check_same_names(set(weights), set(originals))
    drawn = set(sorted(weights, key=weights.stored_size, reverse=True)[:histograms])
    stats = []
    for done, (name, info) in enumerate(weights.tensors.items(), 1):
        original = originals[name] if originals is not None else None
        max_error, found = _analyze(weights, info, original, draw=name in drawn)
        stats.append(TensorStats(info, weights.stored_size(name), max_error, found))
        advance(done, len(weights))
    return stats


def _analyze(
    weights: Weights, info: TensorInfo, original: SourceTensor | None, *, draw: bool
) -> tuple[float | None, TensorHistograms | None]:
    """Return the largest error and the histograms, and decode the tensor only if they need it."""
    if original is not None:
        check_shape_and_dtype(info, original)
    if not info.quantized:
        max_error = None if original is None else 0.0
        if not draw:
            return max_error, None
        return max_error, TensorHistograms(make_histogram(weights[info.name]))
    values = None if original is None else restored_array(original)
    array = weights[info.name] if draw or values is not None else None
    max_error = None if values is None or array is None else largest_error(values, array)
    if array is None or not draw:
        return max_error, None
    return max_error, make_histograms(array, values, _grid_step(weights, info))


def _grid_step(weights: Weights, info: TensorInfo) -> GridStep | None:
    if not isinstance(info.codec, Grid):
        return None
    (step,) = np.frombuffer(underlying_file(weights).content(info.name), STEP_DTYPE, 1)
    taps = info.codec.taps
    # The vectors of a basis have the length `BASIS_SCALE`.
    return GridStep(float(step) * (BASIS_SCALE if taps > 1 else 1), taps)
