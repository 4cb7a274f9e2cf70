"""Processors available to this process, and a parallel map over tensors."""

from __future__ import annotations

import operator
import os
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from .errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

MIN_THREADED: Final = 1 << 18
"""Number of elements from which on a tensor is processed in a thread of its own.

Handing a smaller tensor to another thread takes longer than decoding it.
"""

# Measured on 16 processors: 16 threads take longer than 8.
_MAX_LOADING: Final = 8


def count_processors() -> int:
    """Return the number of processors this process may use, at least 1.

    The affinity mask is considered on Linux; other systems report only the processors they have.
    """
    if sys.platform == "linux":
        # Some sandboxes do not allow this call.
        with suppress(OSError):
            return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_for_loading(threads: int | None, most: int = _MAX_LOADING) -> int:
    """Return a maximum number of threads, or the default for loading in place of None.

    Beyond it, a load becomes slower: threads wait for memory, and for their turns in Python.

    Args:
        threads: as for `vggq.load`.
        most: the default on a machine with this number of processors or more.

    """
    return min(count_processors(), most) if threads is None else threads


def map_threaded(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    counts: Iterable[int],
    threads: int | None,
    *,
    min_threaded: int = MIN_THREADED,
    largest_first: bool = True,
    caller_works: bool = False,
) -> Generator[Result]:
    """Yield the function's result for each item, in order; large items are processed in threads.

    If the system allows fewer threads, the calling thread processes large items as well.
    Once an item has failed, no more are begun. If several have, the error of a small item is
    raised, or else that of the item that was begun first.

    Args:
        function: called with each item, in any thread.
        items: one for each tensor.
        counts: the number of elements of each tensor.
        threads: the maximum number of threads; None for the number of processors.
        min_threaded: the number of elements from which on a tensor is processed in a thread of its
            own; smaller tensors are processed in the calling thread.
        largest_first: whether large tensors are begun by size, so that the threads finish at nearly
            the same time. If not, they are begun in order, so that results are not kept for long.
        caller_works: whether the calling thread is one of the threads. It then yields no result
            before every item was begun.

    Raises:
        OptionError: `threads` is not an integer.

    """
    sizes = list(counts)
    large = [index for index, size in enumerate(sizes) if size >= min_threaded]
    if largest_first:
        large.sort(key=sizes.__getitem__, reverse=True)
    workers = min(_max_workers(threads), len(large))
    if workers <= 1:
        yield from map(function, items)
        return
    few = [index for index, size in enumerate(sizes) if size < min_threaded]
    pool = _Pool(function, items, large)
    try:
        is_complete = pool.start(workers - caller_works)
        # Not written here: Python 3.12 and 3.13 do not run `finally` after an interrupt in one line
        # of a dict comprehension.
        small = _call_each(function, items, few)
        if caller_works or not is_complete:
            pool.work()
        for index in range(len(items)):
            yield small[index] if index in small else pool.result(index)
    finally:
        pool.stop()


def _call_each(
    function: Callable[[Item], Result], items: Sequence[Item], indices: list[int]
) -> dict[int, Result]:
    """Return the function's result for some items, by their indices."""
    return {index: function(items[index]) for index in indices}


def _max_workers(threads: int | None) -> int:
    if threads is None:
        return count_processors()
    try:
        return operator.index(threads)
    except TypeError:
        problem = f"expected an integer, found {threads!r}"
        raise OptionError([("threads", problem)]) from None


class _Pool(Generic[Item, Result]):
    """Threads that process the items of one queue.

    `concurrent.futures` accepts no work once the main thread has ended, and has no way to go on if
    a thread cannot be started.

    Args:
        function: called with each item.
        items: the items.
        indices: the indices of the items to process, in this order.

    """

    def __init__(
        self, function: Callable[[Item], Result], items: Sequence[Item], indices: list[int]
    ) -> None:
        self._function = function
        self._items = items
        self._order = indices
        self._pending = deque(indices)
        self._results: dict[int, Result] = {}
        self._errors: dict[int, BaseException] = {}
        # Locked while there is no news. An interrupt of the thread that waits can do no harm.
        self._news = threading.Lock()
        self._threads: list[threading.Thread] = []

    def start(self, workers: int) -> bool:
        """Start threads until the system refuses one, and return whether all were started."""
        for _ in range(workers):
            thread = threading.Thread(target=self.work, args=(BaseException,), name="vggq")
            self._threads.append(thread)
            try:
                thread.start()
            except (RuntimeError, MemoryError):
                # A container's limit, or the interpreter is about to exit.
                self._threads.pop()
                return False
        return True

    def work(self, recorded: type[BaseException] = Exception) -> None:
        """Process items until none is left, or until one fails.

        Args:
            recorded: the errors for `result` to raise. Others, such as an interrupt, are raised.

        """
        # Another thread may take the last item first.
        with suppress(IndexError):
            while True:
                self._process(self._pending.popleft(), recorded)

    def _process(self, index: int, recorded: type[BaseException]) -> None:
        try:
            self._results[index] = self._function(self._items[index])
        except recorded as error:
            self._pending.clear()
            self._errors[index] = error
        # Already unlocked if there is older news.
        with suppress(RuntimeError):
            self._news.release()

    def result(self, index: int) -> Result:
        """Wait for the result of an item, and return it once.

        If any item has failed, the error that comes first in the queue is raised. It does not
        depend on the threads: all items before it were begun, so their errors are known.
        """
        while index not in self._results and not self._errors:
            self._news.acquire()
        if self._errors:
            self.stop()
            # Kept nowhere else, since errors refer to the frames that refer to this pool.
            errors, self._errors = self._errors, {}
            raise errors.pop(min(errors, key=self._order.index))
        return self._results.pop(index)

    def stop(self) -> None:
        """Begin no more items, and wait for the threads to end."""
        self._pending.clear()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
