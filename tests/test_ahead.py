"""Small entries read many at a time: the same bytes, in fewer reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vggq
from vggq import _reader
from vggq._buffers import ReadAhead
from vggq.packing import pack

from .helpers import save_npz

if TYPE_CHECKING:
    from pathlib import Path

DATA = bytes(range(256)) * 8


class File:
    """Bytes, and the reads that were made of them."""

    def __init__(self) -> None:
        self.reads: list[tuple[int, int]] = []

    def read_at(self, offset: int, size: int) -> bytes:
        self.reads.append((offset, size))
        return DATA[offset : offset + size]


@given(st.lists(st.tuples(st.integers(0, 2100), st.integers(0, 300)), max_size=30))
def test_the_bytes_are_those_of_the_file(reads: list[tuple[int, int]]) -> None:
    file = File()
    ahead = ReadAhead(file.read_at)
    for offset, size in reads:
        assert ahead.read(offset, size) == DATA[offset : offset + size]


def test_reads_that_follow_each_other_grow() -> None:
    file = File()
    ahead = ReadAhead(file.read_at)
    for offset in range(0, len(DATA), 16):
        assert ahead.read(offset, 16) == DATA[offset : offset + 16]
    sizes = [size for _, size in file.reads]
    assert sizes == [16, 32, 64, 128, 256, 512, 1024, 2048]


@pytest.mark.parametrize("offset", [5, 100, 1000])
def test_a_read_elsewhere_takes_nothing_beyond_itself(offset: int) -> None:
    file = File()
    ahead = ReadAhead(file.read_at)
    ahead.read(50, 10)
    ahead.read(offset, 10)
    assert file.reads == [(50, 10), (offset, 10)]


def test_a_window_has_a_bound() -> None:
    sizes = []

    def read_at(offset: int, size: int) -> bytes:
        sizes.append(size)
        return bytes(size)

    ahead = ReadAhead(read_at)
    for place in range(1000):
        ahead.read(place << 12, 1 << 12)
    assert max(sizes) == 1 << 18


def test_small_tensors_are_loaded_with_few_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {f"{n}": np.full(20, n, np.int64) for n in range(500)}
    target = pack(save_npz(tmp_path / "s.npz", state), tmp_path / "s.vggq").target
    reads: list[int] = []
    pread = _reader._pread

    def counted(descriptor: int, offset: int, size: int) -> bytes:
        reads.append(size)
        return pread(descriptor, offset, size)

    monkeypatch.setattr(_reader, "_pread", counted)
    restored = vggq.load(target)
    assert all((restored[name] == array).all() for name, array in state.items())
    assert 1 < len(reads) < 20
