"""Groups of tensors that are measured and changed together."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ... import _dtypes
from ..codecs import raw
from ..model_layout import group_aliases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..options import Options
    from ..sources import Source, SourceTensor

MAX_GROUPS: Final = 64
"""If there are more quantized tensors, those whose names differ only in numbers are one group."""


@dataclass(frozen=True, slots=True)
class Group:
    """Tensors that are measured and changed together.

    Attributes:
        names: the names of the tensors; tied tensors have the same values.
        copies: the names of those that are stored with another one, since they are tied to it.
        deviations: the root mean square of the weights of each tensor, by name.
        count: the stored weights.
        energy: the sum of the squares of the weights.
        axes: the axes that scales can have; None for no scales is always possible.

    """

    names: tuple[str, ...]
    copies: frozenset[str]
    deviations: dict[str, float]
    count: int
    energy: float
    axes: tuple[int, ...]

    @property
    def label(self) -> str:
        """The name of the group for a reader."""
        return self.names[0] if len(self.names) == 1 else f"{self.names[0]} +{len(self.names) - 1}"


def find_groups(source: Source, options: Options) -> list[Group]:
    """Return the groups of the tensors that are quantized.

    Raises:
        SourceError: a tensor cannot be read.

    """
    tied: dict[str, list[SourceTensor]] = {}
    deviations: dict[str, float] = {}
    for tensor, *aliases in group_aliases(source, options):
        if raw.is_stored_exactly(tensor, options.keep):
            continue
        stored = tensor.read()
        values = _dtypes.convert(stored, tensor.dtype, copy=False, saturating=False)
        if raw.count_non_finite(values):
            continue
        energy = float(np.square(values, dtype=np.float64).sum())
        if not energy:
            continue
        deviations |= dict.fromkeys(
            (alias.name for alias in (tensor, *aliases)), math.sqrt(energy / values.size)
        )
        digest = hashlib.sha256(
            np.ascontiguousarray(stored).reshape(-1).view(np.uint8).data
        ).hexdigest()
        tied.setdefault(f"{digest}{tensor.shape}{tensor.dtype}", []).extend((tensor, *aliases))
    groups = list(tied.values())
    copies = frozenset(tensor.name for _, *others in groups for tensor in others)
    return [_make_group(group, deviations, copies) for group in _merge_like(groups)]


def _merge_like(groups: list[list[SourceTensor]]) -> list[list[SourceTensor]]:
    """Merge groups whose names differ only in numbers, if there are too many."""
    if len(groups) <= MAX_GROUPS:
        return groups
    merged: dict[str, list[SourceTensor]] = {}
    for group in groups:
        dimensions = len(group[0].shape)
        key = f"{dimensions} {re.sub('[0-9]+', '#', group[0].name)}"
        merged.setdefault(key, []).extend(group)
    return list(merged.values())


def _make_group(
    tensors: Sequence[SourceTensor], deviations: dict[str, float], copies: frozenset[str]
) -> Group:
    names = tuple(tensor.name for tensor in tensors)
    return Group(
        names=names,
        copies=copies.intersection(names),
        deviations={tensor.name: deviations[tensor.name] for tensor in tensors},
        count=sum(tensor.count for tensor in tensors if tensor.name not in copies),
        energy=sum(deviations[tensor.name] ** 2 * tensor.count for tensor in tensors),
        axes=_possible_axes(tensors),
    )


def _possible_axes(tensors: Sequence[SourceTensor]) -> tuple[int, ...]:
    """Return the axes of the channels of a kernel, or both axes of a matrix."""
    first = tensors[0]
    dimensions = len(first.shape)
    axes = (dimensions - 1, dimensions - 2) if first.channels_last else (0, 1)
    if any(len(tensor.shape) != dimensions for tensor in tensors):
        return ()
    return tuple(axis for axis in axes if all(tensor.shape[axis] > 1 for tensor in tensors))
