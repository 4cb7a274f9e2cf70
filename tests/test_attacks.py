"""Damaged and hostile files: a load returns the same arrays or raises FormatError."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from vggq import _zstd
from vggq._container import build_header
from vggq.errors import DataError, FormatError, ManifestError
from vggq.packing import pack
from vggq.packing.compression import compress

from .helpers import save_npz
from .packed_models import PackedModel, codebook, grid, raw

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


def weight(seed: int) -> NDArray[np.float32]:
    """Return just enough weights to be quantized, with few distinct values: a small entry."""
    values = np.random.default_rng(seed).laplace(0, 3, (40, 25)).round()
    return (values * 0.1).astype(np.float32)


STATE = {"exact": np.arange(3), "mask": np.array([True, False]), "empty": np.empty((0, 2))}
WIDTHS = {f"b{bits}": weight(bits) for bits in (1, 2, 3, 8)}
# Kernels of 3 by 3, so that there is a basis, and rows of different spread, so that they are
# reordered.
KERNELS = np.outer(np.exp2(np.arange(16) % 5), weight(0).reshape(-1)[:63]).reshape(16, 7, 3, 3)

# Together they have every codec, every width of a code, and every kind of band.
FILES: dict[str, tuple[dict[str, NDArray[Any]], dict[str, Any]]] = {
    "codebook": (
        STATE | WIDTHS,
        {"tensors": [{"match": name, "bits": int(name[1:])} for name in WIDTHS]},
    ),
    "rows": ({"w": weight(6)}, {"bits": 2, "scale": "rows"}),
    "columns": (STATE | {"w": weight(7)}, {"bits": 3, "scale": "columns"}),
    "grid with rows": ({"v": weight(8)}, {"sqnr": 20, "scale": "rows"}),
    "dependent": ({"w": KERNELS.astype(np.float32), "v": weight(5)}, {"sqnr": 14}),
    "independent": ({"v": weight(5)}, {"sqnr": 50, "dependent": False}),
}


@pytest.fixture(scope="module", params=FILES)
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("small")
    state, options = FILES[request.param]
    return pack(save_npz(folder / "s.npz", state), folder / "s.vggq", **options).target.read_bytes()


def test_every_truncation_is_rejected(small: bytes) -> None:
    for length in range(len(small)):
        with pytest.raises(FormatError):
            vggq.load(small[:length])


@pytest.mark.slow
def test_every_flipped_bit_is_rejected_or_harmless(small: bytes) -> None:
    expected = vggq.load(small)
    rejected = 0
    for position in range(8 * len(small)):
        damaged = bytearray(small)
        damaged[position // 8] ^= 1 << position % 8
        try:
            restored = vggq.load(bytes(damaged))
        except FormatError:
            rejected += 1
            continue
        assert list(restored) == list(expected)
        for name, array in restored.items():
            np.testing.assert_array_equal(array, expected[name])
    assert rejected > 0.98 * 8 * len(small)


def test_every_changed_byte_is_rejected_or_harmless(small: bytes) -> None:
    """Each byte gets three other values: no bits, all bits, and some bits changed."""
    expected = vggq.load(small)
    for position in range(len(small)):
        for value in {0, 255, small[position] ^ 0b1010_0110} - {small[position]}:
            damaged = small[:position] + bytes([value]) + small[position + 1 :]
            with suppress(FormatError):
                same = vggq.load(damaged)
                assert all(
                    array.tobytes() == expected[name].tobytes() for name, array in same.items()
                )


def test_bytes_after_the_last_entry_are_rejected(small: bytes) -> None:
    with pytest.raises(FormatError, match="the file has bytes after its last entry"):
        vggq.load(small + b"\0")


def hostile(frame: bytes, **tensor: Any) -> bytes:
    """Return a file with a valid manifest, whose claims its only entry need not meet."""
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
    digest = hashlib.sha256(text.encode()).hexdigest()
    return build_header({"0": len(frame)}, {"vggq": digest + text}) + frame


def restored_files(data: bytes) -> dict[str, bytes]:
    """Restore each file of a model to memory."""
    with vggq.open(data) as weights:
        return {
            member.path: vggq.read_bytes(data, member=member.path) for member in weights.members
        }


def written_files(data: bytes) -> dict[str, bytes]:
    """Write a model that is a folder, and read its files."""
    with vggq.as_file(data) as folder:
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def packed_model() -> bytes:
    """Return a model of two files, with tensors of each codec."""
    stored = [
        raw("exact", "U8", b"exact"),
        codebook("half", "F16", [0.1, 7e4, -1e-7], [2, 1, 0, 1]),
        grid("brain", "BF16", 0.3, [3, -2, 127]),
    ]
    members: dict[str, list[bytes | str]] = {
        "m.onnx": [b"begin", "half", "exact"],
        "d/m.bin": ["brain", b"end", b"{}" * 30],
    }
    return PackedModel(members, stored, main=".", block_size=40).build()


@pytest.mark.parametrize("restore", [restored_files, written_files])
def test_truncated_model_is_rejected(
    packed_model: bytes, restore: Callable[[bytes], dict[str, bytes]], temporary: Path
) -> None:
    for length in range(len(packed_model)):
        with pytest.raises(FormatError):
            restore(packed_model[:length])
    assert not list(temporary.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("restore", [restored_files, written_files])
def test_every_flipped_bit_of_a_model_is_rejected_or_harmless(
    packed_model: bytes, restore: Callable[[bytes], dict[str, bytes]], temporary: Path
) -> None:
    expected = restore(packed_model)
    rejected = 0
    for position in range(8 * len(packed_model)):
        damaged = bytearray(packed_model)
        damaged[position // 8] ^= 1 << position % 8
        try:
            restored = restore(bytes(damaged))
        except FormatError:
            rejected += 1
            continue
        assert restored == expected
    assert rejected > 0.98 * 8 * len(packed_model)
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("open_", [vggq.open, vggq.load])
def test_impossible_content_size_is_rejected_without_allocating_it(
    open_: Callable[[bytes], object],
) -> None:
    data = hostile(b"\x28\xb5\x2f\xfd\x04" + bytes(30), shape=[2**50], size=2**52)
    tracemalloc.start()
    try:
        message = "tensor 'w': size is 4503599627370496, but an entry of 35 bytes has at most"
        with pytest.raises(ManifestError, match=message):
            open_(data)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_largest_possible_content_size() -> None:
    """The limit is that of zstd, which nearly reaches it for zeros."""
    content = bytes(100 << 20)
    frame = compress(content)
    assert len(content) <= _zstd.max_content_size(len(frame)) < 1.02 * len(content)
    count = len(content) // 4
    assert not vggq.load(hostile(frame, shape=[count], size=len(content)))["w"].any()
    count = _zstd.max_content_size(len(frame)) // 4 + 1
    with pytest.raises(ManifestError, match="but an entry of"):
        vggq.open(hostile(frame, shape=[count], size=4 * count))


def test_frame_that_declares_less_than_the_manifest() -> None:
    frame = b"\x28\xb5\x2f\xfd\x04" + bytes(30)
    with pytest.raises(DataError, match="tensor 'w': the zstd frame declares"):
        vggq.load(hostile(frame, shape=[2**15], size=2**17))


def test_frame_that_declares_more_than_it_contains() -> None:
    size = 2 << 17
    frame = b"\x28\xb5\x2f\xfd\xc4\x00" + size.to_bytes(8, "little") + bytes(10)
    with pytest.raises(DataError):
        vggq.load(hostile(frame, shape=[size // 4], size=size))


def test_more_levels_than_the_content_can_have() -> None:
    """A byte of a band stands for at most 85 levels."""
    codec = {"name": "grid", "taps": 1, "first": False, "rows": 1, "dependent": 1}
    size = 4 + 24 + 10
    with pytest.raises(
        ManifestError, match=r"tensor 'w': size is 38, but 4096 weights take 77 to 24604"
    ):
        vggq.open(
            hostile(compress(bytes(size)), shape=[4096], size=size, codec=codec | {"size": size})
        )


@pytest.mark.parametrize(("scales", "run"), [(2**50, 1), (1, 2**50), (2**30, 2**30), (7, 1)])
def test_more_slices_than_weights(scales: int, run: int) -> None:
    codec = {"name": "codebook", "centroids": 2, "scales": scales, "run": run}
    tracemalloc.start()
    try:
        message = f"tensor 'w': 6 weights cannot be split into {scales} slices of runs of {run}"
        with pytest.raises(ManifestError, match=message):
            vggq.open(hostile(bytes(40), shape=[6], size=2 * scales + 9, codec=codec))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_more_scales_than_the_entry_can_have() -> None:
    codec = {"name": "codebook", "centroids": 1, "scales": 2**50, "run": 1}
    size = 2 * 2**50 + 4 + 2**47
    message = f"tensor 'w': size is {size}, but an entry of 40 bytes has at most"
    with pytest.raises(ManifestError, match=message):
        vggq.open(hostile(bytes(40), shape=[2**50], size=size, codec=codec))


def test_largest_shape_without_elements_is_restored() -> None:
    restored = vggq.load(hostile(b"", shape=[2**53, 0], size=0))
    assert restored["w"].shape == (2**53, 0)
