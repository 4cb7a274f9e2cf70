"""How many processors this process may use, and large tensors at work on them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

T = TypeVar("T")
R = TypeVar("R")

# Handing a tensor of fewer weights to a thread takes longer than decoding it.
_LARGE: Final = 1 << 18


def available() -> int:
    """Those it is not kept from by an affinity mask, where the system tells; at least 1."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_threaded(
    function: Callable[[T], R], items: Sequence[T], counts: Iterable[int], threads: int | None
) -> Iterator[R]:
    """The function's results in order; of large tensors, so many are at work at a time.

    Args:
        function: of an item, which may run in any thread.
        items: a tensor each.
        counts: the weights of each.
        threads: at most so many; None for as many as there are processors.

    """
    sizes = dict(enumerate(counts))
    # The largest first, so that the threads end at nearly the same time, whatever the order.
    large = sorted((p for p in sizes if sizes[p] >= _LARGE), key=sizes.__getitem__, reverse=True)
    workers = min(available() if threads is None else threads, len(large))
    if workers <= 1:
        yield from map(function, items)
        return
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - small models need none

    pool = ThreadPoolExecutor(workers)
    try:
        futures = {place: pool.submit(function, items[place]) for place in large}
        small = {p: function(item) for p, item in enumerate(items) if p not in futures}
        for place in range(len(items)):
            yield small[place] if place in small else futures[place].result()
    finally:
        pool.shutdown(cancel_futures=True)
