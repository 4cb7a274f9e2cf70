"""The limit of the memory that several threads take at once."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from vggq._memory_gate import MemoryGate

if TYPE_CHECKING:
    from collections.abc import Callable


class Asking:
    """A thread that asks for memory, and holds it until `finish` is called."""

    def __init__(self, gate: MemoryGate, size: int) -> None:
        self._gate, self._size = gate, size
        self.has_begun, self._may_finish = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with self._gate.reserve(self._size):
            self.has_begun.set()
            self._may_finish.wait(10)

    def finish(self) -> None:
        self._may_finish.set()
        self._thread.join()


@pytest.fixture
def ask(request: pytest.FixtureRequest) -> Callable[[MemoryGate, int], Asking]:
    def begin(gate: MemoryGate, size: int) -> Asking:
        asking = Asking(gate, size)
        request.addfinalizer(asking.finish)
        return asking

    return begin


def test_sizes_up_to_the_limit_are_taken_at_once() -> None:
    gate = MemoryGate(10)
    with ExitStack() as stack:
        for size in (5, 0, 5):
            stack.enter_context(gate.reserve(size))


def test_more_than_the_limit_waits_to_be_alone(
    ask: Callable[[MemoryGate, int], Asking],
) -> None:
    gate = MemoryGate(10)
    small = ask(gate, 1)
    assert small.has_begun.wait(10)
    large = ask(gate, 11)
    assert not large.has_begun.wait(0.05)
    small.finish()
    assert large.has_begun.wait(10)


def test_a_large_size_is_not_overtaken(ask: Callable[[MemoryGate, int], Asking]) -> None:
    gate = MemoryGate(10)
    first = ask(gate, 1)
    assert first.has_begun.wait(10)
    large = ask(gate, 11)
    assert not large.has_begun.wait(0.05)
    later = ask(gate, 1)
    assert not later.has_begun.wait(0.05)
    first.finish()
    assert large.has_begun.wait(10)
    assert not later.has_begun.is_set()
    large.finish()
    assert later.has_begun.wait(10)


def test_memory_is_given_back_after_an_error() -> None:
    gate = MemoryGate(10)
    with pytest.raises(KeyError), gate.reserve(11):
        raise KeyError
    with gate.reserve(11):
        pass
