"""Damaged and hostile files: the same arrays or a FormatError, and nothing else, ever."""

from __future__ import annotations

import hashlib
import json
import re
import tracemalloc
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from vggq import _zstd
from vggq._container import write_header
from vggq.errors import DataError, FormatError, HeaderError, LimitError, ManifestError, OptionError
from vggq.packing import pack
from vggq.packing.compression import compress

from .helpers import save_npz

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


def weight(seed: int) -> NDArray[np.float32]:
    """As many weights as it takes to be quantized, few of them different: a small entry."""
    values = np.random.default_rng(seed).laplace(0, 3, (40, 25)).round()
    return (values * 0.1).astype(np.float32)


STATE = {"exact": np.arange(3), "mask": np.array([True, False]), "empty": np.empty((0, 2))}
WIDTHS = {f"b{bits}": weight(bits) for bits in (1, 2, 3, 8)}
# Three by three, so that there is a basis; each row ten times the one before, so that their
# order pays.
KERNELS = np.outer(np.exp2(np.arange(16) % 5), weight(0).reshape(-1)[:63]).reshape(16, 7, 3, 3)

# Between them every codec, every width of a code, and every kind of band.
FILES: dict[str, tuple[dict[str, NDArray[Any]], dict[str, Any]]] = {
    "codebook": (
        STATE | WIDTHS,
        {"tensors": [{"match": name, "bits": int(name[1:])} for name in WIDTHS]},
    ),
    "dependent": ({"w": KERNELS.astype(np.float32), "v": weight(5)}, {"sqnr": 14}),
    "independent": ({"v": weight(5)}, {"sqnr": 50, "dependent": False}),
}


@pytest.fixture(scope="module", params=FILES)
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("small")
    state, options = FILES[request.param]
    return pack(save_npz(folder / "s.npz", state), folder / "s.vggq", **options).target.read_bytes()


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


def test_every_byte_that_is_another(small: bytes) -> None:
    """Not every value of each, but three: none, all and some of its bits."""
    expected = vggq.load(small)
    for position in range(len(small)):
        for value in {0, 255, small[position] ^ 0b1010_0110} - {small[position]}:
            damaged = small[:position] + bytes([value]) + small[position + 1 :]
            with suppress(FormatError):
                same = vggq.load(damaged)
                assert all(
                    array.tobytes() == expected[name].tobytes() for name, array in same.items()
                )


def test_bytes_behind_the_end(small: bytes) -> None:
    with pytest.raises(FormatError, match="goes on behind its last entry"):
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


@pytest.mark.parametrize("open_", [vggq.open, vggq.load])
def test_a_promise_of_much_takes_no_memory(open_: Callable[[bytes], object]) -> None:
    """Nothing is decoded: an entry of so few bytes cannot have so many."""
    data = hostile(b"\x28\xb5\x2f\xfd\x04" + bytes(30), shape=[2**50], size=2**52)
    tracemalloc.start()
    try:
        message = "tensor 'w': size is 4503599627370496, which no entry of 35 bytes holds"
        with pytest.raises(ManifestError, match=message):
            open_(data)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_the_most_that_an_entry_can_hold() -> None:
    """The limit is zstd's own: what it makes of zeros comes near to it, and is read."""
    content = bytes(100 << 20)
    frame = compress(content)
    assert len(content) <= _zstd.capacity(len(frame)) < 1.02 * len(content)
    count = len(content) // 4
    assert not vggq.load(hostile(frame, shape=[count], size=len(content)))["w"].any()
    count = _zstd.capacity(len(frame)) // 4 + 1
    with pytest.raises(ManifestError, match="which no entry of"):
        vggq.open(hostile(frame, shape=[count], size=4 * count))


def test_a_frame_that_declares_less_than_the_manifest() -> None:
    frame = b"\x28\xb5\x2f\xfd\x04" + bytes(30)
    with pytest.raises(DataError, match="tensor 'w': the frame declares"):
        vggq.load(hostile(frame, shape=[2**15], size=2**17))


def test_a_frame_that_lies_as_well() -> None:
    """The frame's header agrees with the manifest on all that ten bytes could hold."""
    size = 2 << 17
    frame = b"\x28\xb5\x2f\xfd\xc4\x00" + size.to_bytes(8, "little") + bytes(10)
    with pytest.raises(DataError):
        vggq.load(hostile(frame, shape=[size // 4], size=size))


def test_levels_that_no_content_holds() -> None:
    """A byte of a band is at most so many zeros: more weights are refused before any is read."""
    codec = {"name": "grid", "taps": 1, "first": False, "rows": 1, "dependent": False}
    size = 4 + 24 + 10
    with pytest.raises(ManifestError, match=r"tensor 'w': 38 bytes do not hold 4096 weights"):
        vggq.open(
            hostile(compress(bytes(size)), shape=[4096], size=size, codec=codec | {"size": size})
        )


@pytest.mark.parametrize(
    ("options", "most"),
    [({}, 24_000), ({"dtype": "float16"}, 24_000), ({"dtype": "float64"}, 40_000)],
)
def test_the_most_that_the_caller_allows(
    tmp_path: Path, options: dict[str, Any], most: int
) -> None:
    """Tied tensors count once, and float64 that is decompressed only to become float32 as such."""
    values = np.arange(4000, dtype=np.float32)
    state: dict[str, NDArray[Any]] = {"a": values, "tied": values, "d": np.ones(1000)}
    data = pack(save_npz(tmp_path / "s.npz", state), tmp_path / "s.vggq", keep=["a"])
    path = data.target
    assert vggq.load(path, max_bytes=most, **options).keys() == state.keys()
    message = f"{path} takes {most} bytes restored, more than max_bytes, {most - 1}"
    with pytest.raises(LimitError, match=re.escape(message)):
        vggq.load(path, max_bytes=most - 1, **options)


def test_the_most_that_may_be_opened(small: bytes) -> None:
    with vggq.open(small) as weights:
        most = weights.manifest.float32_size
    vggq.open(small, max_bytes=2 * most).close()
    with pytest.raises(LimitError, match=f"bytes> takes .* more than max_bytes, {most // 2}"):
        vggq.open(small, max_bytes=most // 2)


def test_a_long_header_counts() -> None:
    text = json.dumps({"__metadata__": {"vggq": "x" * 70_000}}).encode()
    data = len(text).to_bytes(8, "little") + text
    with pytest.raises(LimitError, match=f"takes {25 * len(text)} bytes for its header, more than"):
        vggq.open(data, max_bytes=25 * len(text) - 1)
    with pytest.raises(ManifestError, match="SHA-256 does not match"):
        vggq.open(data, max_bytes=25 * len(text))
    # A length that no file has is what it is without a limit.
    with pytest.raises(HeaderError, match="more than the file holds"):
        vggq.open(b"\xff" * 8, max_bytes=1)


def test_a_limit_that_is_no_number(small: bytes) -> None:
    with pytest.raises(OptionError, match="max_bytes: expected a number of bytes, found '1'"):
        vggq.open(small, max_bytes="1")  # type: ignore[arg-type]


def test_the_largest_shape_of_no_elements_is_an_array() -> None:
    restored = vggq.load(hostile(b"", shape=[2**53, 0], size=0))
    assert restored["w"].shape == (2**53, 0)
