"""The number of processors, and the parallel map over tensors."""

from __future__ import annotations

import concurrent.futures
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from vggq import _threads


def test_count_processors_without_an_affinity_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= _threads.count_processors() <= (os.cpu_count() or 1)
    monkeypatch.setattr(sys, "platform", "darwin")
    for counted, expected in ((8, 8), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda counted=counted: counted)
        assert _threads.count_processors() == expected


def test_map_threaded_starts_with_the_largest_items_and_keeps_the_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[int] = []

    class RecordingPool(ThreadPoolExecutor):
        def submit(self, function: Any, item: Any, /) -> Any:  # type: ignore[override]
            begun.append(item)
            return super().submit(function, item)

    monkeypatch.setattr(concurrent.futures, "ThreadPoolExecutor", RecordingPool)
    counts = [5, 20, 40, 10, 30, 9]
    results = _threads.map_threaded(str, range(6), counts, 2, min_threaded=10)
    assert list(results) == list("012345")
    assert begun == [2, 4, 1, 3]


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


def test_map_threaded_raises_the_error_of_a_thread() -> None:
    def fail(item: int) -> int:
        raise ValueError(item)

    with pytest.raises(ValueError, match="0"):
        list(_threads.map_threaded(fail, range(3), [9, 9, 9], 2, min_threaded=1))
