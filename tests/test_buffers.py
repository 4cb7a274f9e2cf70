"""Reused buffers and the read-ahead window."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vggq
from vggq._buffers import MAX_WINDOW, Buffers, ReadAhead
from vggq._huge_pages import HUGE
from vggq.packing import pack

from .helpers import assert_own_memory, read_nothing, save_npz

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

DATA = bytes(range(256)) * 8


class RecordedReads:
    """A file with the content DATA, and a list of the reads of it."""

    def __init__(self) -> None:
        self.reads: list[tuple[int, int]] = []

    def read_at(self, offset: int, size: int) -> bytes:
        self.reads.append((offset, size))
        return DATA[offset : offset + size]


@given(st.lists(st.tuples(st.integers(0, 2100), st.integers(0, 300)), max_size=30))
def test_read_ahead_returns_the_bytes_of_the_file(reads: list[tuple[int, int]]) -> None:
    ahead = ReadAhead(RecordedReads().read_at)
    for offset, size in reads:
        assert ahead.read(offset, size) == DATA[offset : offset + size]


def test_read_ahead_window_doubles_with_consecutive_reads() -> None:
    file = RecordedReads()
    ahead = ReadAhead(file.read_at)
    for offset in range(0, len(DATA), 16):
        assert ahead.read(offset, 16) == DATA[offset : offset + 16]
    sizes = [size for _, size in file.reads]
    assert sizes == [16, 32, 64, 128, 256, 512, 1024, 2048]


@pytest.mark.parametrize("offset", [5, 100, 1000])
def test_read_ahead_fetches_nothing_extra_for_a_read_elsewhere(offset: int) -> None:
    file = RecordedReads()
    ahead = ReadAhead(file.read_at)
    ahead.read(50, 10)
    ahead.read(offset, 10)
    assert file.reads == [(50, 10), (offset, 10)]


def test_read_ahead_window_grows_to_a_limit() -> None:
    sizes = []

    def read_at(offset: int, size: int) -> bytes:
        sizes.append(size)
        return bytes(size)

    ahead = ReadAhead(read_at)
    for index in range(1000):
        ahead.read(index << 12, 1 << 12)
    assert max(sizes) == MAX_WINDOW == 1 << 18


class CountedReads(io.BytesIO):
    """A file that counts its reads."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        self.count += 1
        return super().read(size)


def test_load_reads_many_small_tensors_at_once(tmp_path: Path) -> None:
    state = {f"{n}": np.full(20, n, np.int64) for n in range(500)}
    target = pack(save_npz(tmp_path / "s.npz", state), tmp_path / "s.vggq").target
    file = CountedReads(target.read_bytes())
    restored = vggq.load(file)
    assert all((restored[name] == array).all() for name, array in state.items())
    assert 1 < file.count < 20


def test_buffers_are_reused_and_grow() -> None:
    buffers = Buffers(read_nothing)
    first = buffers.take("frame", 10)
    first[:] = b"0123456789"
    assert buffers.take("frame", 4).tobytes() == b"0123"
    assert len(buffers.take("frame", 3 * HUGE)) == 3 * HUGE
    assert first.tobytes() == b"0123456789"


def test_buffers_are_separate_for_each_use_and_thread() -> None:
    buffers = Buffers(read_nothing)
    buffers.take("frame", 3)[:] = b"abc"
    buffers.take("content", 3)[:] = b"xyz"
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(buffers.take, "frame", 3).result()
    other[:] = b"def"
    assert buffers.take("frame", 3).tobytes() == b"abc"


def test_restored_arrays_do_not_use_the_memory_of_buffers(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    state: dict[str, NDArray[Any]] = {
        name: rng.standard_normal((400, 400)).astype(np.float32) for name in "abc"
    }
    state["raw"] = rng.standard_normal(200_000)
    state["whole"] = rng.integers(0, 2**40, (300, 300))
    target = pack(save_npz(tmp_path / "s.npz", state), tmp_path / "s.vggq").target
    with vggq.open(target) as weights:
        expected = {name: weights[name] for name in weights}
    for restored in (
        vggq.load(target),
        vggq.load(target, threads=4),
        vggq.load(target.read_bytes()),
    ):
        for name, array in restored.items():
            np.testing.assert_array_equal(array, expected[name])
        assert_own_memory(restored.values())


def test_small_and_large_tensors_in_one_load(tmp_path: Path) -> None:
    """Mix entries that are read ahead, that use buffers, and that are decoded in threads."""
    rng = np.random.default_rng(2)
    state: dict[str, NDArray[Any]] = {}
    for n in range(12):
        state[f"{n}.bias"] = rng.standard_normal(rng.integers(1, 3000))
        state[f"{n}.raw"] = rng.integers(0, 2**40, (rng.integers(100, 300), 100))
    state["large"] = rng.integers(0, 256, (600, 500), np.uint8)
    state["larger"] = rng.integers(0, 256, (700, 500), np.uint8)
    target = pack(save_npz(tmp_path / "s.npz", state), tmp_path / "s.vggq").target
    for threads in (1, 2, 8):
        restored = vggq.load(target, threads=threads)
        assert set(restored) == set(state)
        for name, array in state.items():
            expected = array.astype(np.float32) if array.dtype.kind == "f" else array
            np.testing.assert_array_equal(restored[name], expected)
