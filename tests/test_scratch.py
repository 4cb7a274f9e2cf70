"""Memory for intermediate results, and the unpacking of small integers."""

from __future__ import annotations

import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from vggq._codecs._bits import unpack, unpacking_table
from vggq._codecs._scratch import Scratch, borrow_scratch, release_scratch
from vggq._huge_pages import HUGE

DTYPE = np.dtype(np.int16)


def test_memory_is_used_again() -> None:
    with borrow_scratch() as scratch:
        levels = scratch.take("levels", (3, 1000), DTYPE)
        assert not np.shares_memory(levels, scratch.take("values", (3, 1000), DTYPE))
    with borrow_scratch() as scratch:
        again = scratch.take("levels", (2, 10), DTYPE)
    assert again.shape == (2, 10)
    assert np.shares_memory(levels, again)


def test_arrays_have_the_shape_and_dtype_of_their_call() -> None:
    scratch = Scratch()
    for shape in ((2, 3), (3, 2), (6,)):
        for dtype in map(np.dtype, ("f4", "i4", "<u2", ">u2", "f2")):
            array = scratch.take("pairs", shape, dtype)
            assert (array.shape, array.dtype) == (shape, dtype)
            assert scratch.take("pairs", shape, dtype) is array


def test_decoding_within_decoding_has_other_memory() -> None:
    with borrow_scratch() as outer:
        levels = outer.take("levels", (1, 8), DTYPE)
        with borrow_scratch() as inner:
            assert not np.shares_memory(levels, inner.take("levels", (1, 8), DTYPE))


def test_larger_memory_replaces_smaller_memory() -> None:
    with borrow_scratch() as scratch:
        for count in (1, 1 << 22):
            assert scratch.take("sums", (count,), np.dtype(np.float64)).size == count


@pytest.mark.skipif(sys.platform != "linux", reason="no huge pages")
def test_a_small_array_begins_a_huge_page() -> None:
    with borrow_scratch() as scratch:
        pairs = scratch.take("pairs", (256, 2), DTYPE, huge=True)
    assert pairs.ctypes.data % HUGE == 0


def test_memory_is_given_back() -> None:
    with borrow_scratch() as scratch:
        memory = weakref.ref(scratch)
    del scratch
    assert memory() is not None
    release_scratch()
    assert memory() is None


def test_memory_of_other_threads_is_given_back() -> None:
    memory = []

    def decode() -> None:
        with borrow_scratch() as scratch:
            memory.append(weakref.ref(scratch))

    with ThreadPoolExecutor(1) as pool:
        pool.submit(decode).result()
        assert memory[0]() is not None
        release_scratch()
        assert memory[0]() is None


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_unpacking_every_byte(width: int) -> None:
    packed = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(
        unpack(packed, width, Scratch()), unpacking_table(width).reshape(-1)
    )
