"""Memory that is used again: each thread's own, and as large as is asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from vggq._buffers import Buffers
from vggq.packing import pack

from .helpers import no_file, save_npz

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def test_it_is_used_again_and_grows() -> None:
    scratch = Buffers(no_file)
    first = scratch.take("frame", 10)
    first[:] = b"0123456789"
    assert scratch.take("frame", 4).tobytes() == b"0123"
    assert len(scratch.take("frame", 1000)) == 1000
    assert first.tobytes() == b"0123456789"


def test_each_use_and_each_thread_has_its_own() -> None:
    scratch = Buffers(no_file)
    scratch.take("frame", 3)[:] = b"abc"
    scratch.take("content", 3)[:] = b"xyz"
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: scratch.take("frame", 3).tobytes()).result() == bytes(3)
    assert scratch.take("frame", 3).tobytes() == b"abc"


def test_what_was_restored_does_not_lie_in_it(tmp_path: Path) -> None:
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
            assert array.flags.owndata


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_small_and_large_tensors_side_by_side(tmp_path: Path, threads: int) -> None:
    rng = np.random.default_rng(2)
    state: dict[str, NDArray[Any]] = {}
    for n in range(40):
        state[f"{n}.bias"] = rng.standard_normal(rng.integers(1, 3000))
        state[f"{n}.raw"] = rng.integers(0, 2**40, (rng.integers(100, 300), 100))
    state["large"] = rng.integers(0, 2**40, (600, 500))
    state["larger"] = rng.integers(0, 2**40, (700, 500))
    target = pack(save_npz(tmp_path / "s.npz", state), tmp_path / "s.vggq").target
    restored = vggq.load(target, threads=threads)
    assert set(restored) == set(state)
    for name, array in state.items():
        expected = array.astype(np.float32) if array.dtype.kind == "f" else array
        np.testing.assert_array_equal(restored[name], expected)
