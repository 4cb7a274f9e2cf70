"""Every tensor of a packed file at once, into fresh arrays or into those the caller has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from . import _decode, _out, _threads, _wanted
from ._weights import open_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import DTypeLike, NDArray

    from ._files import Package, Readable
    from ._scratch import Buffer
    from ._weights import Weights

R = TypeVar("R")

# What is stored exactly is as large as what it becomes: more of it than this is read twice.
_KEPT: Final = 1 << 20


def load(
    source: Readable | Package,
    resource: str | None = None,
    *,
    threads: int | None = None,
    dtype: DTypeLike | None = None,
    out: Mapping[str, NDArray[Any]] | None = None,
    max_bytes: int | None = None,
) -> dict[str, NDArray[Any]]:
    """Restore every tensor of a packed file.

    Args:
        source: as for `open`.
        resource: as for `open`.
        threads: how many large tensors are decoded at a time, on which the arrays do not depend;
            by default as many as there are processors. Small ones have no use for a thread.
        dtype: what floating point is restored as: float32 by default, float16, float64, or
            ml_dtypes' bfloat16; what is beyond the range of one becomes infinite. With
            ``"source"`` every tensor has the dtype it had in the source, and those that were
            stored exactly have all its bits.
        out: an array for each tensor, by name, to be written to; of its shape and dtype, of any
            strides, none overlapping another. None is written to before all is known to be
            sound; an interruption, or a disk that fails between two readings, may come later.
        max_bytes: the most that all tensors may take together, as for `open`, in `dtype`.

    Returns:
        The arrays by name, fresh and writable: of `dtype` for what was floating point, and the
        source's own dtype for integers and booleans. Tied tensors are one array. With `out`,
        the arrays of that.

    Raises:
        PackedFileError: there is no such file, or it cannot be read.
        FormatError: it is no sound packed file, or a tensor's bytes are damaged.
        LimitError: it takes more than `max_bytes`; nothing was decoded.
        OptionError: `dtype` is none of these, or arrays of `out` are missing, too many or not
            as they should be; all of them at once.
        MissingDependencyError: the source has a dtype that takes ml_dtypes.

    """
    choose = _wanted.choice(dtype)
    with open_within(source, resource, choose, max_bytes) as weights:
        dtypes = {name: choose(tensor) for name, tensor in weights.tensors.items()}
        if out is not None:
            arrays = _out.checked(out, weights.tensors, dtypes)
            fill(weights, list(arrays.items()), prove(weights, arrays, threads), threads)
            return {name: out[name] for name in weights}

        scratch = weights.scratch()

        def restore(name: str) -> NDArray[Any]:
            content = weights.content(name, scratch)
            return _decode.restore(content, weights.tensors[name], dtypes[name])

        return of_names(weights, of_tensors(restore, weights, by_entry(weights).values(), threads))


def by_entry(weights: Weights) -> dict[int, str]:
    """One name for each entry, in the order of the first of its names."""
    return {tensor.entry: name for name, tensor in weights.tensors.items()}


def of_tensors(
    function: Callable[[str], R], weights: Weights, names: Iterable[str], threads: int | None
) -> Iterator[R]:
    """What `_threads.each` makes of tensors by name."""
    names = list(names)
    return _threads.each(function, names, [weights.tensors[name].count for name in names], threads)


def of_names(weights: Weights, restored: Iterable[R]) -> dict[str, R]:
    """What was made of each name of `by_entry`, under all names."""
    made = dict(zip(by_entry(weights), restored, strict=True))
    return {name: made[tensor.entry] for name, tensor in weights.tensors.items()}


def prove(weights: Weights, names: Iterable[str], threads: int | None) -> Callable[[str], Buffer]:
    """Read and prove some tensors, and keep what is small of it: codes, and little else.

    Returns:
        The content of any of them. It fails only if the file has changed.

    Raises:
        DataError: a tensor's bytes are damaged.

    """
    entries = {weights.tensors[name].entry: name for name in names}

    def kept(name: str) -> Buffer | None:
        content = weights.content(name)
        is_small = weights.tensors[name].quantized or len(content) <= _KEPT
        return content if is_small else None

    contents = dict(zip(entries, of_tensors(kept, weights, entries.values(), threads), strict=True))

    def content(name: str) -> Buffer:
        found = contents[weights.tensors[name].entry]
        return weights.content(name) if found is None else found

    return content


def fill(
    weights: Weights,
    arrays: Sequence[tuple[str, NDArray[Any]]],
    content: Callable[[str], Buffer],
    threads: int | None,
) -> None:
    """Write proved tensors into arrays of their shapes."""

    def write(pair: tuple[str, NDArray[Any]]) -> None:
        name, array = pair
        _decode.write(content(name), weights.tensors[name], array)

    for _ in _threads.each(write, arrays, [array.size for _, array in arrays], threads):
        pass
