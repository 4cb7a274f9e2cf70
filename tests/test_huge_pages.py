"""Memory of new arrays: huge pages, shared pages, and content that is decompressed into it."""

from __future__ import annotations

import gc
import mmap
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from vggq import _decode
from vggq._huge_pages import HUGE, MAX_SHARED, Arrays, empty, empty_bytes
from vggq.packing import pack

from .helpers import assert_own_memory, save_npz

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vggq import TensorInfo
    from vggq._buffers import Target

SHAPES = [(0,), (3, 5), (HUGE // 4 - 1,), (HUGE // 4,), (1025, 1023), (3, HUGE)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_new_arrays_can_be_written(shape: tuple[int, ...]) -> None:
    first, second = empty(shape, np.dtype(np.float32)), empty(shape, np.dtype(np.float32))
    assert_own_memory([first, second])
    first[...], second[...] = 1, 2
    assert first.shape == shape
    assert (first == 1).all()
    assert (second == 2).all()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such pages")
def test_large_arrays_begin_a_huge_page() -> None:
    for size in (HUGE, 3 * HUGE + 5):
        assert empty((size,), np.dtype(np.uint8)).__array_interface__["data"][0] % HUGE == 0


@pytest.mark.parametrize("error", [OSError, ImportError])
def test_new_arrays_if_memory_cannot_be_mapped(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(mmap, "mmap", refuse)
    array = empty((HUGE,), np.dtype(np.uint8))
    array[:] = 7
    assert array.sum(dtype=int) == 7 * HUGE


def test_too_large_arrays_do_not_fit_into_memory() -> None:
    for size in (1 << 55, sys.maxsize - 7):
        with pytest.raises(MemoryError):
            empty((size,), np.dtype(np.uint8))


def test_memory_of_buffers_has_at_least_the_size() -> None:
    for size in (1, HUGE // 2, HUGE // 2 + 1, HUGE, HUGE + 1):
        assert size <= len(empty_bytes(size)) < size + HUGE


def test_small_arrays_share_pages() -> None:
    arrays = Arrays(2 * HUGE)
    made = [arrays.empty((n % 7 * 100,), np.dtype(np.float64)) for n in range(900)]
    made.append(arrays.empty((MAX_SHARED + 1,), np.dtype(np.uint8)))
    assert_own_memory(made)
    for number, array in enumerate(made):
        array[...] = number % 251
    assert all((array == number % 251).all() for number, array in enumerate(made))
    pages = {id(array.base) for array in made[1:6]}
    assert len(pages) == 1
    assert made[-1].base is None


def test_few_small_arrays_share_nothing() -> None:
    arrays = Arrays(HUGE - 1)
    assert arrays.empty((5,), np.dtype(np.float32)).flags.owndata


def resident() -> int:
    """Return the bytes of memory of this process."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * mmap.PAGESIZE


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_dropping_all_arrays_but_one_frees_the_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    state = {f"{n}": rng.integers(0, 9, (1000, 1000)).astype(np.float32) for n in range(8)}
    state |= {f"small{n}": np.full(16_000, n, np.float32) for n in range(200)}
    target = pack(save_npz(tmp_path / "s.npz", state), tmp_path / "s.vggq").target
    vggq.load(target)
    gc.collect()
    before = resident()
    restored = vggq.load(target)
    assert resident() - before > 35_000_000
    kept = restored["3"], restored["small7"]
    del restored
    assert resident() - before < 12_000_000
    np.testing.assert_array_equal(kept[0], state["3"])
    np.testing.assert_array_equal(kept[1], state["small7"])


def test_content_is_decompressed_into_its_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Codes of each width, with and without scales, and raw tensors, into dtypes of each size."""
    monkeypatch.setattr(_decode, "_MIN_PLACED", 1)
    rng = np.random.default_rng(0)
    counts = {256: 300_001, 199: 300_002, 16: 150_003, 4: 150_001, 2: 300_007}
    state = {f"{n}": rng.integers(0, n, (counts[n], 1)).astype(np.float32) for n in counts}
    state["scaled"] = rng.standard_normal((600, 500)).astype(np.float32)
    exact: dict[str, NDArray[Any]] = {"raw": rng.integers(0, 2**40, 70_000), "f": rng.random(9)}
    source = save_npz(tmp_path / "s.npz", state | exact)
    target = pack(source, tmp_path / "s.vggq", keep=["f"], scale="rows").target
    places: list[Target | None] = []
    place_in = _decode.place_in

    def record(values: NDArray[Any], tensor: TensorInfo) -> Target | None:
        places.append(place_in(values, tensor))
        return places[-1]

    monkeypatch.setattr(_decode, "place_in", record)
    for dtype in (np.float32, np.float16, np.float64):
        restored = vggq.load(target, dtype=dtype)
        assert sum(place is not None for place in places) >= len(state)
        places.clear()
        with vggq.open(target) as weights:
            for name, array in restored.items():
                if array.dtype == dtype and name != "f":
                    np.testing.assert_array_equal(array, weights[name].astype(dtype))
        np.testing.assert_array_equal(restored["raw"], exact["raw"])
        np.testing.assert_array_equal(restored["f"], exact["f"].astype(dtype))
