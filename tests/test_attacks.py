"""Damaged and hostile files: the same arrays or a FormatError, and nothing else, ever."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from vggq._container import write_header
from vggq.encode import pack
from vggq.errors import DataError, FormatError

from .helpers import save_npz

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("small")
    weight = np.random.default_rng(0).standard_normal((40, 25)).astype(np.float32)
    source = save_npz(folder / "s.npz", {"w": weight, "b": np.arange(3.0)})
    return pack(source, folder / "s.vggq", bits=1).target.read_bytes()


def test_every_truncation(small: bytes) -> None:
    for length in range(len(small)):
        with pytest.raises(FormatError):
            vggq.load(small[:length])


def test_every_flipped_bit(small: bytes) -> None:
    expected = vggq.load(small)
    refused = 0
    for position in range(8 * len(small)):
        damaged = bytearray(small)
        damaged[position // 8] ^= 1 << position % 8
        try:
            restored = vggq.load(bytes(damaged))
        except FormatError:
            refused += 1
            continue
        assert list(restored) == list(expected)
        for name, array in restored.items():
            np.testing.assert_array_equal(array, expected[name])
    assert refused > 0.98 * 8 * len(small)


def test_bytes_behind_the_end(small: bytes) -> None:
    with pytest.raises(FormatError, match="leave a gap"):
        vggq.load(small + b"\0")


def hostile(frame: bytes, **tensor: Any) -> bytes:
    """A file with a sound manifest that promises what its one frame does not hold."""
    table = {
        "name": "w",
        "source_dtype": "F32",
        "stored_dtype": "F32",
        "entry": 0,
        "codec": {"name": "raw"},
        "energy": 0,
        "noise": 0,
    }
    manifest = {
        "format": 1,
        "reader": "0.1.0",
        "encoder": 1,
        "zstd": "1",
        "source": {"format": "x", "sha256": "0" * 64},
        "options": {},
        "tensors": [table | tensor],
    }
    text = json.dumps(manifest)
    seal = hashlib.sha256(text.encode()).hexdigest()
    return write_header({"0": len(frame)}, {"vggq": seal + text}) + frame


def test_a_promise_of_much_takes_no_memory(tmp_path: Path) -> None:
    count = 2**50
    data = hostile(b"\x28\xb5\x2f\xfd\x04" + bytes(30), shape=[count], size=4 * count)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="tensor 'w': the frame declares"):
            vggq.load(data)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_frame_that_lies_as_well() -> None:
    """The frame's header agrees with the manifest on 2^50 bytes, and there are ten."""
    count = 2**50
    frame = b"\x28\xb5\x2f\xfd\xc4\x00" + (4 * count).to_bytes(8, "little") + bytes(10)
    with pytest.raises((DataError, MemoryError)):
        vggq.load(hostile(frame, shape=[count], size=4 * count))


def test_the_largest_shape_of_no_elements_is_an_array() -> None:
    restored = vggq.load(hostile(b"", shape=[2**53, 0], size=0))
    assert restored["w"].shape == (2**53, 0)
