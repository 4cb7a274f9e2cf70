"""Restore every tensor of a packed file, into new arrays or into arrays of the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from . import _arguments, _decode, _threads
from ._buffers import Target
from ._huge_pages import MAX_SHARED, Arrays, empty_bytes
from ._packed_file import open_packed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import DTypeLike, NDArray

    from ._buffers import Buffer
    from ._packed_file import PackedFile
    from ._readable import Anchor, Readable
    from ._threads import Result

# Raw content is as large as its tensor. Above this size it is read twice instead of being kept.
_MAX_KEPT_RAW: Final = 1 << 20
# Smaller content is kept in memory that malloc already has.
_MIN_MAPPED: Final = 1 << 16


def load(
    source: Readable | Anchor,
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
        threads: the number of large tensors to decode at once; by default the number of
            processors, but at most 8. The result does not depend on it. Where no thread can be
            started, all tensors are decoded in the calling one.
        dtype: the dtype of floating-point tensors: float32 by default, float16, float64, or
            ml_dtypes' bfloat16. Finite values beyond its range become its largest finite value.
            With ``"source"`` every tensor has its dtype in the source, and exactly stored tensors
            have all their bits.
        out: an array for each tensor, by name, to write to: of the same shape and dtype, of any
            strides, without overlaps. The whole file is validated before the first write. Only
            an interrupt or a failing disk can leave some arrays written and others not.
        max_bytes: the memory limit in bytes, as for `open`, in `dtype`.

    Returns:
        The arrays by name, new and writable. Floating-point tensors have `dtype`, integers and
        booleans their own dtype. Tied tensors are one array. With `out`, its arrays. The memory
        of each is given back on its own, except that arrays of up to 64 KiB may share 2 MiB. Large
        arrays, and those that share memory, cannot be resized in place.

    Raises:
        PackedFileError: the file is missing or unreadable.
        FormatError: the file is not a valid packed file, or the bytes of a tensor are damaged.
        LimitError: the file needs more memory than `max_bytes`; nothing was decoded.
        OptionError: `dtype`, `threads` or arrays of `out` are invalid.
        MissingDependencyError: the dtype needs ml_dtypes, or there is no library for zstd.

    """
    dtype_of = _arguments.resolve_dtype(dtype)
    with open_packed(source, resource, dtype_of, max_bytes) as packed:
        dtypes = {name: dtype_of(tensor) for name, tensor in packed.tensors.items()}
        if out is None:
            return _load_new(packed, dtypes, threads)
        return _load_into(packed, out, dtypes, threads)


def _load_new(
    packed: PackedFile, dtypes: Mapping[str, np.dtype[Any]], threads: int | None
) -> dict[str, NDArray[Any]]:
    buffers = packed.buffers()
    names = names_by_entry(packed).values()
    sizes = [packed.tensors[name].count * dtypes[name].itemsize for name in names]
    arrays = Arrays(sum(size for size in sizes if size <= MAX_SHARED))

    def restore(name: str) -> NDArray[Any]:
        values = arrays.empty(packed.tensors[name].shape, dtypes[name])
        packed.restore_into(name, values, buffers)
        return values

    return share_tied(packed, map_tensors(restore, packed, names, threads))


def _load_into(
    packed: PackedFile,
    out: Mapping[str, NDArray[Any]],
    dtypes: Mapping[str, np.dtype[Any]],
    threads: int | None,
) -> dict[str, NDArray[Any]]:
    arrays = _arguments.validate_out(out, packed.tensors, dtypes)
    content_of = validate_all(packed, arrays, threads)
    decode_all_into(packed, list(arrays.items()), content_of, threads)
    return {name: out[name] for name in packed.tensors}


def names_by_entry(packed: PackedFile) -> dict[int, str]:
    """Return one name for each entry, in the order of the first name of each entry."""
    return {tensor.entry: name for name, tensor in packed.tensors.items()}


def map_tensors(
    function: Callable[[str], Result],
    packed: PackedFile,
    names: Iterable[str],
    threads: int | None,
    *,
    caller_works: bool = True,
) -> Generator[Result]:
    """Yield the function's result for each name, in order; see `_threads.map_threaded`."""
    names = list(names)
    counts = [packed.tensors[name].count for name in names]
    threads = _threads.default_for_loading(threads)
    return _threads.map_threaded(function, names, counts, threads, caller_works=caller_works)


def share_tied(packed: PackedFile, results: Iterable[Result]) -> dict[str, Result]:
    """Return the results by name; tied tensors share one.

    Args:
        packed: the packed file.
        results: one for each name of `names_by_entry`, in order.

    """
    by_entry = dict(zip(names_by_entry(packed), results, strict=True))
    return {name: by_entry[tensor.entry] for name, tensor in packed.tensors.items()}


def validate_all(
    packed: PackedFile,
    names: Iterable[str],
    threads: int | None,
    *,
    max_kept_raw: int = _MAX_KEPT_RAW,
) -> Callable[[str], Buffer]:
    """Read and validate tensors before any of them is written anywhere.

    Args:
        packed: the packed file.
        names: the tensors to validate.
        threads: as for `load`.
        max_kept_raw: raw content of more bytes is not kept, but read again when it is decoded.

    Returns:
        A function that returns the content of a tensor by name. For content that is read again
        it can fail, if the file or the disk has changed.

    Raises:
        DataError: the bytes of a tensor are damaged.

    """
    entries = {packed.tensors[name].entry: name for name in names}

    buffers = packed.buffers()

    def read(name: str) -> Buffer | None:
        tensor = packed.tensors[name]
        size = tensor.content_size
        if not tensor.quantized and size > max_kept_raw:
            packed.content(name, buffers)
            return None
        if size < _MIN_MAPPED:
            return packed.content(name)
        return packed.content(name, buffers, Target(empty_bytes(size)))

    results = map_tensors(read, packed, entries.values(), threads)
    contents = dict(zip(entries, results, strict=True))

    def content_of(name: str) -> Buffer:
        content = contents[packed.tensors[name].entry]
        return packed.content(name) if content is None else content

    return content_of


def decode_all_into(
    packed: PackedFile,
    arrays: Sequence[tuple[str, NDArray[Any]]],
    content_of: Callable[[str], Buffer],
    threads: int | None,
) -> None:
    """Decode validated tensors into arrays of their shapes.

    Args:
        packed: the packed file.
        arrays: pairs of a tensor's name and the array to write.
        content_of: a result of `validate_all`.
        threads: as for `load`.

    """

    def decode_pair(pair: tuple[str, NDArray[Any]]) -> None:
        name, array = pair
        _decode.decode_into(content_of(name), packed.tensors[name], array)

    sizes = [array.size for _, array in arrays]
    threads = _threads.default_for_loading(threads)
    for _ in _threads.map_threaded(decode_pair, arrays, sizes, threads, caller_works=True):
        pass
