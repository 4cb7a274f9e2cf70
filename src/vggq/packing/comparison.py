"""Compare two sets of tensors: a packed file with another one, or with a source."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _dtypes, _weights
from .._manifest import compute_sqnr
from .metrics import as_real, measure_noise
from .model_layout import plan_model
from .packer import SUFFIX
from .sources import open_source
from .verification import recorded_options

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from .._weights import Weights
    from .sources import SourceTensor


@dataclass(frozen=True, slots=True)
class _Side:
    """A tensor on one side: its shape, a function that reads it, and whether it is quantized."""

    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]
    quantized: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of a tensor in two sets, of which the second is the reference.

    Attributes:
        name: the name of the tensor.
        shape: the shape in the first set; None if it has no such tensor.
        reference_shape: the shape in the reference; None if it has no such tensor.
        same: whether dtypes, shapes and values are equal; NaN equals NaN.
        energy: the sum of the squares of the reference.
        noise: the sum of the squared differences; infinite if it is undefined, because dtypes,
            shapes or the places of non-finite values differ.
        largest: the largest absolute difference; infinite if it is undefined.
        floating: whether both are floating-point or complex tensors; others are either equal or
            not.
        quantized: whether at least one of them is quantized.

    """

    name: str
    shape: tuple[int, ...] | None
    reference_shape: tuple[int, ...] | None
    same: bool = False
    energy: float = 0.0
    noise: float = math.inf
    largest: float = math.inf
    floating: bool = False
    quantized: bool = False

    @property
    def sqnr(self) -> float:
        """SQNR in dB of the first against the reference; -infinity if it is undefined."""
        return -math.inf if math.isinf(self.noise) else compute_sqnr(self.energy, self.noise)

    def within(self, tolerance: float) -> bool:
        """Whether the tensors are equal, or weights with an SQNR of at least `tolerance` dB."""
        return self.same or (self.floating and self.sqnr >= tolerance)


def compare(
    packed: str | os.PathLike[str],
    reference: str | os.PathLike[str],
    advance: Callable[[int, int], None] = lambda *_: None,
) -> list[Comparison]:
    """Compare the tensors of a packed file with those of another one, or of a source.

    Args:
        packed: a packed file.
        reference: another packed file (its name ends in .vggq), or a checkpoint, which is read
            as the manifest of the packed file records: its layout, key, `drop` and `rename`.
        advance: called with the number of tensors done, and the total.

    Returns:
        One comparison for each name on either side, first those of the packed file in its order,
        then the others.

    Raises:
        PackedFileError, FormatError: a packed file cannot be read.
        SourceError: the source cannot be read.
        VerificationError: the manifest's options were recorded by another version.
        OptionError: the recorded options do not fit the source.

    """
    with ExitStack() as stack:
        weights = stack.enter_context(_weights.open(packed))
        ours = _sides_of_packed(weights)
        theirs = _sides_of_reference(Path(reference), weights, stack)
        names = list(ours | theirs)
        comparisons = []
        for done, name in enumerate(names, 1):
            comparisons.append(_compare_tensor(name, ours.get(name), theirs.get(name)))
            advance(done, len(names))
        return comparisons


def _sides_of_packed(weights: Weights) -> dict[str, _Side]:
    return {
        name: _Side(info.shape, partial(weights.__getitem__, name), info.quantized)
        for name, info in weights.tensors.items()
    }


def _sides_of_reference(path: Path, packed: Weights, stack: ExitStack) -> dict[str, _Side]:
    if path.suffix == SUFFIX:
        return _sides_of_packed(stack.enter_context(_weights.open(path)))
    read_options = recorded_options(packed.manifest).read
    source, _ = plan_model(stack.enter_context(open_source(path, read_options)))
    return {t.name: _Side(t.shape, partial(restored_array, t)) for t in source.tensors}


def restored_array(tensor: SourceTensor) -> NDArray[Any]:
    """Return a new array with the values that a source's tensor is restored to without any loss.

    Raises:
        SourceError: the tensor cannot be read.

    """
    return _dtypes.convert(tensor.read(), tensor.dtype)


def _compare_tensor(name: str, ours: _Side | None, theirs: _Side | None) -> Comparison:
    shapes = (ours.shape if ours else None, theirs.shape if theirs else None)
    if ours is None or theirs is None or ours.shape != theirs.shape:
        return Comparison(name, *shapes)
    array, reference = ours.read(), theirs.read()
    if array.dtype != reference.dtype:
        return Comparison(name, *shapes)
    array, reference = as_real(array), as_real(reference)
    floating = array.dtype.kind == "f"
    same = np.array_equal(array, reference, equal_nan=floating)
    differences = _differences(array, reference)
    quantized = ours.quantized or theirs.quantized
    return Comparison(name, *shapes, same, *differences, floating, quantized)


def _differences(array: NDArray[Any], reference: NDArray[Any]) -> tuple[float, float, float]:
    """Return the energy, the noise and the largest error of arrays of one shape and dtype."""
    non_finite = ~(np.isfinite(array) & np.isfinite(reference))
    if non_finite.any():
        if not np.array_equal(array[non_finite], reference[non_finite], equal_nan=True):
            return 0.0, math.inf, math.inf
        array, reference = array[~non_finite], reference[~non_finite]
    energy, noise = measure_noise(reference, array)
    return energy, noise, largest_error(reference, array)


def largest_error(values: NDArray[Any], others: NDArray[Any]) -> float:
    """Return the largest |w - ŵ| of finite arrays of one shape; 0 if they are empty."""
    return float(np.abs(values.astype(np.float64) - others).max(initial=0.0))


def overall_sqnr(comparisons: Iterable[Comparison]) -> float:
    """Return the SQNR in dB over all weights that are quantized or differ.

    Against the source this is the SQNR in the manifest, where raw tensors do not count.
    """
    pairs = [
        c
        for c in comparisons
        if c.floating and math.isfinite(c.noise) and (c.quantized or not c.same)
    ]
    return compute_sqnr(sum(c.energy for c in pairs), sum(c.noise for c in pairs))
