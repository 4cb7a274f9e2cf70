"""Two sets of weights, tensor by tensor: a packed file and another one, or a source."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _dtypes, _weights
from .._manifest import sqnr
from .metrics import measure
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
class _Tensor:
    """One side's: its shape, what gives it as it is restored, and whether that is only near."""

    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]
    quantized: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """One tensor of two sets, the second of which is the reference.

    Attributes:
        name: its name in both, or in the one that has it.
        shape: in the first; None where it has no such tensor.
        reference_shape: likewise, in the second.
        same: whether they are of one dtype and shape, and equal; NaN is equal to NaN.
        energy: the sum of the squares of the reference.
        noise: the sum of the squared differences; infinite where there is no telling, because
            dtypes, shapes or the places of what is not finite are not the same.
        largest: the largest absolute difference, infinite likewise.
        floating: whether both are floating point; integers and booleans are the same or are not.
        quantized: whether one is, so that it was restored only nearly.

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
        """Of the first against the reference in dB; -infinity where there is no telling."""
        return -math.inf if math.isinf(self.noise) else sqnr(self.energy, self.noise)

    def within(self, tolerance: float) -> bool:
        """Whether they are the same, or weights whose SQNR is at least `tolerance` in dB."""
        return self.same or (self.floating and self.sqnr >= tolerance)


def compare(
    packed: str | os.PathLike[str],
    reference: str | os.PathLike[str],
    advance: Callable[[int, int], None] = lambda *_: None,
) -> list[Comparison]:
    """Compare the tensors of a packed file with those of another one, or of a source.

    Args:
        packed: a packed file.
        reference: another (its name ends in .vggq), or a checkpoint, which is read as the packed
            file's manifest records: its layout, key, `drop` and `rename`.
        advance: called with the number of tensors done and of all.

    Returns:
        One for each name on either side: in the packed file's order, what it lacks at the end.

    Raises:
        PackedFileError, FormatError: a packed file cannot be read.
        SourceError: the source cannot be read.
        VerificationError: the manifest's options are of another version.
        OptionError: they do not fit the source.

    """
    with ExitStack() as stack:
        weights = stack.enter_context(_weights.open(packed))
        ours = _packed(weights)
        theirs = _reference(Path(reference), weights, stack)
        names = list(ours | theirs)
        found = []
        for done, name in enumerate(names, 1):
            found.append(_compare(name, ours.get(name), theirs.get(name)))
            advance(done, len(names))
        return found


def _packed(weights: Weights) -> dict[str, _Tensor]:
    return {
        name: _Tensor(info.shape, partial(weights.__getitem__, name), info.quantized)
        for name, info in weights.tensors.items()
    }


def _reference(path: Path, packed: Weights, stack: ExitStack) -> dict[str, _Tensor]:
    if path.suffix == SUFFIX:
        return _packed(stack.enter_context(_weights.open(path)))
    reading = recorded_options(packed.manifest).reading
    source = stack.enter_context(open_source(path, reading))
    return {t.name: _Tensor(t.shape, partial(restored, t)) for t in source.tensors}


def restored(tensor: SourceTensor) -> NDArray[Any]:
    """A source's tensor as it is restored where nothing is lost: a fresh array.

    Raises:
        SourceError: it cannot be read.

    """
    return _dtypes.widen(tensor.read(), tensor.dtype)


def _compare(name: str, ours: _Tensor | None, theirs: _Tensor | None) -> Comparison:
    shapes = (ours.shape if ours else None, theirs.shape if theirs else None)
    if ours is None or theirs is None or ours.shape != theirs.shape:
        return Comparison(name, *shapes)
    array, reference = ours.read(), theirs.read()
    if array.dtype != reference.dtype:
        return Comparison(name, *shapes)
    floating = array.dtype.kind == "f"
    same = np.array_equal(array, reference, equal_nan=floating)
    differences = _differences(array, reference)
    quantized = ours.quantized or theirs.quantized
    return Comparison(name, *shapes, same, *differences, floating, quantized)


def _differences(array: NDArray[Any], reference: NDArray[Any]) -> tuple[float, float, float]:
    """Energy, noise and the largest absolute difference of arrays of one shape and dtype."""
    odd = ~(np.isfinite(array) & np.isfinite(reference))
    if odd.any():
        if not np.array_equal(array[odd], reference[odd], equal_nan=True):
            return 0.0, math.inf, math.inf
        array, reference = array[~odd], reference[~odd]
    energy, noise = measure(reference, array)
    return energy, noise, largest_error(reference, array)


def largest_error(values: NDArray[Any], others: NDArray[Any]) -> float:
    """The largest |w - ŵ| of finite arrays of one shape; 0 where there are none."""
    return float(np.abs(values.astype(np.float64) - others).max(initial=0.0))


def overall(comparisons: Iterable[Comparison]) -> float:
    """The SQNR in dB of all weights of one shape that are quantized or differ.

    Against the source that is the manifest's: what is stored exactly does not count.
    """
    pairs = [
        c
        for c in comparisons
        if c.floating and math.isfinite(c.noise) and (c.quantized or not c.same)
    ]
    return sqnr(sum(c.energy for c in pairs), sum(c.noise for c in pairs))
