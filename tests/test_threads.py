"""The number of processors, and the parallel map over tensors."""

from __future__ import annotations

import gc
import itertools
import os
import sys
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from vggq import _threads
from vggq.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def test_count_processors_without_an_affinity_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= _threads.count_processors() <= (os.cpu_count() or 1)
    monkeypatch.setattr(sys, "platform", "darwin")
    for counted, expected in ((8, 8), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda counted=counted: counted)
        assert _threads.count_processors() == expected


def test_count_processors_where_the_affinity_mask_may_not_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: int) -> set[int]:
        raise PermissionError

    monkeypatch.setattr(os, "sched_getaffinity", refuse, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert _threads.count_processors() == 3


def test_map_threaded_starts_with_the_largest_items_and_keeps_the_order() -> None:
    order = [2, 4, 1, 3]
    begun = {item: threading.Event() for item in order}

    def begin(item: int) -> str:
        """Wait for the item before; two threads reach an end only if they begin in this order."""
        if item in order[1:]:
            assert begun[order[order.index(item) - 1]].wait(10)
        if item in order:
            begun[item].set()
        return str(item)

    counts = [5, 20, 40, 10, 30, 9]
    results = _threads.map_threaded(begin, range(6), counts, 2, min_threaded=10)
    assert list(results) == list("012345")


def test_map_threaded_can_begin_in_order(refuse_after: Callable[[int], None]) -> None:
    refuse_after(0)
    begun: list[int] = []
    results = _threads.map_threaded(
        begun.append, range(5), [10, 30, 20, 50, 40], 2, min_threaded=0, largest_first=False
    )
    assert list(results) == [None] * 5
    assert begun == list(range(5))


@pytest.mark.parametrize(
    ("threads", "counts", "workers"),
    [(2, [9, 9], 2), (8, [9, 1, 9], 2), (3, [9, 9, 9], 3), (1, [9, 9], 0), (8, [9, 1], 0)],
)
def test_map_threaded_processes_only_large_items_in_threads(
    threads: int, counts: list[int], workers: int
) -> None:
    barrier = threading.Barrier(max(workers, 1))

    def wait_for_others(count: int) -> threading.Thread:
        if workers and count == 9:
            barrier.wait(60)
        return threading.current_thread()

    found = list(_threads.map_threaded(wait_for_others, counts, counts, threads, min_threaded=9))
    main = threading.current_thread()
    assert len(set(found) - {main}) == workers
    assert all(thread is main for thread, count in zip(found, counts, strict=True) if count < 9)


@pytest.mark.parametrize("error", [ValueError, IndexError, MemoryError, SystemExit])
def test_map_threaded_raises_the_error_of_the_first_item(error: type[BaseException]) -> None:
    """The error does not depend on which thread fails first."""
    second_failed = threading.Event()

    def fail(item: int) -> int:
        if item == 0:
            assert second_failed.wait(60)
        else:
            second_failed.set()
        raise error(item)

    before = set(threading.enumerate())
    with pytest.raises(error) as caught:
        list(_threads.map_threaded(fail, range(9), [9] * 9, 2, min_threaded=1))
    assert caught.value.args == (0,)
    assert set(threading.enumerate()) == before


def test_calling_thread_can_be_one_of_the_threads() -> None:
    barrier = threading.Barrier(3, timeout=60)

    def wait_for_others(_: int) -> int:
        barrier.wait()
        return threading.get_ident()

    results = _threads.map_threaded(
        wait_for_others, range(3), [9] * 3, 3, min_threaded=1, caller_works=True
    )
    threads = set(results)
    assert len(threads) == 3
    assert threading.get_ident() in threads


def test_default_for_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threads, "count_processors", lambda: 64)
    assert _threads.default_for_loading(None) == 8
    assert _threads.default_for_loading(64) == 64
    monkeypatch.setattr(_threads, "count_processors", lambda: 3)
    assert _threads.default_for_loading(None) == 3


def test_map_threaded_raises_the_error_of_a_small_item_first() -> None:
    def fail(item: int) -> int:
        raise ValueError(item)

    with pytest.raises(ValueError, match="2"):
        list(_threads.map_threaded(fail, range(4), [9, 9, 1, 1], 2, min_threaded=5))


def test_map_threaded_begins_no_item_after_an_error() -> None:
    begun: list[int] = []

    def fail(item: int) -> int:
        begun.append(item)
        raise ValueError

    with pytest.raises(ValueError):
        list(_threads.map_threaded(fail, range(100), [9] * 100, 3, min_threaded=1))
    assert len(begun) <= 3


def test_map_threaded_keeps_no_references_after_an_error() -> None:
    """A reference cycle would keep the results of a failed load until the next collection."""

    class Content:
        pass

    kept: list[weakref.ref[Content]] = []

    def fail(item: int) -> Content:
        content = Content()
        kept.append(weakref.ref(content))
        if item:
            raise ValueError(item)
        return content

    gc.disable()
    try:
        with suppress(ValueError):
            list(_threads.map_threaded(fail, range(5), [9] * 5, 3, min_threaded=1))
        assert kept
        assert not any(reference() for reference in kept)
    finally:
        gc.enable()


def test_map_threaded_stops_if_its_results_are_not_needed() -> None:
    begun: list[int] = []
    first = threading.Event()

    def begin(item: int) -> int:
        begun.append(item)
        # Holds back the other thread until the first result was taken.
        assert item == 0 or first.wait(60)
        return item

    before = set(threading.enumerate())
    results = _threads.map_threaded(begin, range(100), [9] * 100, 2, min_threaded=1)
    assert next(results) == 0
    first.set()
    results.close()
    assert set(threading.enumerate()) == before
    assert len(begun) < 100


@pytest.mark.parametrize("threads", ["2", 2.0, [1]])
def test_number_of_threads_has_to_be_an_integer(threads: Any) -> None:
    with pytest.raises(OptionError, match=r"^threads: expected an integer, found "):
        list(_threads.map_threaded(str, [1], [1], threads))
    assert list(_threads.map_threaded(str, [1], [1], np.int64(2))) == ["1"]  # type: ignore[arg-type]


# Systems that allow fewer threads


@pytest.fixture(params=[RuntimeError("can't start new thread"), MemoryError()], ids=repr)
def refuse_after(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], None]:
    """Return a function that lets only a number of threads start."""
    start = threading.Thread.start

    def refuse(allowed: int) -> None:
        started = itertools.count()

        def start_or_refuse(thread: threading.Thread) -> None:
            if next(started) >= allowed:
                raise request.param
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", start_or_refuse)

    return refuse


@pytest.mark.parametrize("allowed", [0, 1, 2, 3])
def test_map_threaded_goes_on_with_the_threads_that_could_start(
    refuse_after: Callable[[int], None], allowed: int
) -> None:
    refuse_after(allowed)
    barrier = threading.Barrier(allowed + 1)
    begun: list[int] = []

    def wait_for_others(item: int) -> threading.Thread:
        begun.append(item)
        if item != 2:
            barrier.wait(60)
        return threading.current_thread()

    # Each thread, with the calling one, processes two large items.
    items = [2, *[0] * 2 * (allowed + 1)]
    counts = [1 if item == 2 else 9 for item in items]
    found = list(_threads.map_threaded(wait_for_others, items, counts, 4, min_threaded=9))
    assert found[0] is threading.current_thread()
    assert len(set(found[1:])) == allowed + 1
    assert threading.current_thread() in found[1:]


@pytest.mark.parametrize("allowed", [0, 1])
def test_map_threaded_raises_the_same_error_if_threads_cannot_start(
    refuse_after: Callable[[int], None], allowed: int
) -> None:
    refuse_after(allowed)

    def fail(item: int) -> int:
        raise ValueError(item)

    with pytest.raises(ValueError, match="4"):
        list(_threads.map_threaded(fail, range(5), [9, 9, 9, 9, 10], 3, min_threaded=1))


def test_interrupt_of_the_calling_thread_that_helps_is_raised_at_once(
    refuse_after: Callable[[int], None],
) -> None:
    refuse_after(0)

    def interrupt(item: int) -> int:
        if item:
            raise KeyboardInterrupt
        raise ValueError

    with pytest.raises(KeyboardInterrupt):
        list(_threads.map_threaded(interrupt, [1, 0], [9, 9], 2, min_threaded=1))


def interrupt_line(number: int) -> bool:
    """Interrupt a map at a line of its module, by the number of lines before; False if too few."""
    lines = itertools.count()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename != _threads.__file__:
            return None
        if event == "line" and next(lines) == number:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        list(
            _threads.map_threaded(
                lambda _: time.sleep(0.005), range(3), [9, 9, 1], 2, min_threaded=5
            )
        )
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_interrupt_at_any_line_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    number = 0
    while interrupt_line(number):
        assert set(threading.enumerate()) == before, number
        number += 1
    assert number > 20
