"""Files of a folder that hold the same tensors, in several formats."""

from __future__ import annotations

import glob
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...._dtypes import FLOATING
from ....errors import SourceError
from .._remarks import list_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .._source import SourceTensor
    from ._model_files import ModelFile

# Smaller tensors, such as zeros and ones of norms, are equal by chance.
_MIN_COUNT: Final = 1000
# Of the weights of a file. Two formats of one model may differ in a few tensors.
_SHARE: Final = 0.9

_Digest = tuple[str, int, int, int]


def remark_duplicates(root: Path, models: Sequence[ModelFile]) -> tuple[str, ...]:
    """Return a remark on the models whose tensors are those of other models as well.

    Args:
        root: the folder.
        models: the models in it, the preferred ones first.

    """
    weights = {model.path: _find_weights(model.contents.tensors) for model in models}
    owners: dict[_Digest, Path] = {}
    originals: dict[Path, None] = {}
    duplicates: dict[Path, None] = {}
    for path in _find_suspects(weights):
        counts = Counter(_iterate_digests(weights[path]))
        known = [digest for digest in counts.elements() if digest in owners]
        if known and _size_of(known) >= _SHARE * _size_of(counts.elements()):
            duplicates[path] = None
            originals |= dict.fromkeys(owners[digest] for digest in known)
        for digest in counts:
            owners.setdefault(digest, path)
    if not duplicates:
        return ()
    needed = {file for model in models if model.path not in duplicates for file in model.files}
    excluded = [
        file
        for model in models
        if model.path in duplicates
        for file in model.files
        if file not in needed
    ]
    lists = [path for path in originals if path not in duplicates], list(duplicates), excluded
    return (_describe(*([path.relative_to(root).as_posix() for path in paths] for paths in lists)),)


def _size_of(digests: Iterable[_Digest]) -> int:
    return sum(count for _, count, *_ in digests)


def _describe(originals: Sequence[str], duplicates: Sequence[str], excluded: Sequence[str]) -> str:
    patterns = [glob.escape(path) for path in dict.fromkeys(excluded)]
    names, kept = list_names(duplicates), list_names(originals)
    if len(duplicates) == 1:
        return (
            f"{names} holds the same tensors as {kept}; exclude = {patterns!r} leaves it out; if "
            f"your code loads it, exclude {kept} instead"
        )
    return (
        f"{names} hold the same tensors as {kept}; exclude = {patterns!r} leaves them out; if your "
        "code loads one of them, exclude the others instead"
    )


def _find_weights(tensors: Iterable[SourceTensor]) -> list[SourceTensor]:
    return [
        tensor
        for tensor in tensors
        if tensor.problem is None and tensor.dtype in FLOATING and tensor.count >= _MIN_COUNT
    ]


def _find_suspects(weights: Mapping[Path, Sequence[SourceTensor]]) -> list[Path]:
    """Return the files that share the numbers of elements with others; only these are read."""
    counts = {
        path: Counter((tensor.dtype, tensor.count) for tensor in tensors)
        for path, tensors in weights.items()
    }
    total = Counter(key for counter in counts.values() for key in counter)
    return [path for path, counter in counts.items() if any(total[key] > 1 for key in counter)]


def _iterate_digests(tensors: Iterable[SourceTensor]) -> Iterable[_Digest]:
    for tensor in tensors:
        try:
            values = tensor.read()
        except SourceError:
            # It stays in the rest, with this reason.
            continue
        yield (tensor.dtype, tensor.count, *_hash_values(values))


def _hash_values(values: NDArray[Any]) -> tuple[int, int]:
    """Return two sums over the bits of all values, which do not depend on their order.

    Other formats transpose matrices.
    """
    bits = np.ascontiguousarray(values).reshape(-1).view(f"<u{values.dtype.itemsize}")
    first = second = 0
    for start in range(0, bits.size, 1 << 20):
        part = bits[start : start + (1 << 20)].astype(np.uint64)
        first += int(part.sum(dtype=np.uint64))
        second += int((part * part).sum(dtype=np.uint64))
    return first & 0xFFFFFFFFFFFFFFFF, second & 0xFFFFFFFFFFFFFFFF
