"""Processors available to this process, and a parallel map over tensors."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

# Handing a smaller tensor to another thread takes longer than decoding it.
_MIN_THREADED: Final = 1 << 18


def count_processors() -> int:
    """Return the number of processors this process may use, at least 1.

    The affinity mask is considered on Linux; other systems report only the processors they have.
    """
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_threaded(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    counts: Iterable[int],
    threads: int | None,
    *,
    min_threaded: int = _MIN_THREADED,
) -> Iterator[Result]:
    """Yield the function's result for each item, in order; large items are processed in threads.

    Args:
        function: called with each item, in any thread.
        items: one for each tensor.
        counts: the number of elements of each tensor.
        threads: the maximum number of threads; None for the number of processors.
        min_threaded: the number of elements from which on a tensor is processed in a thread of its
            own; smaller tensors are processed in the calling thread.

    """
    sizes = dict(enumerate(counts))
    # The largest tensors go first, so that the threads finish at nearly the same time.
    large = [index for index, size in sizes.items() if size >= min_threaded]
    large.sort(key=sizes.__getitem__, reverse=True)
    workers = min(count_processors() if threads is None else threads, len(large))
    if workers <= 1:
        yield from map(function, items)
        return
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - small models need no threads

    pool = ThreadPoolExecutor(workers)
    try:
        futures = {index: pool.submit(function, items[index]) for index in large}
        small = {i: function(item) for i, item in enumerate(items) if i not in futures}
        for index in range(len(items)):
            yield small[index] if index in small else futures[index].result()
    finally:
        pool.shutdown(cancel_futures=True)
