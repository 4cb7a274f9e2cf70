"""Decompression by zstandard, and by the standard library's zstd or its backport."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from importlib.util import find_spec
from io import BytesIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from vggq import _zstd
from vggq._buffers import Buffers
from vggq._zstd_frame import FrameError

from .helpers import read_nothing
from .zstd_frames import make_frame, stdlib

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = bytes(range(200)) * 3 + b"\0" * 500

# The standard library decompresses chunks of 128 KiB.
CHUNK = 1 << 17

LIBRARIES = {"stdlib": stdlib}
if find_spec("zstandard"):
    # On Python 3.14 the package is not required.
    LIBRARIES["zstandard"] = None


@pytest.fixture(params=[(name, into) for name in LIBRARIES for into in (False, True)], ids=str)
def buffers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Buffers | None:
    """Select the library, and return buffers or None."""
    name, into = request.param
    monkeypatch.setattr(_zstd, "_stdlib", LIBRARIES[name])
    return Buffers(read_nothing) if into else None


def frame_error(data: bytes, size: int = len(CONTENT), buffers: Buffers | None = None) -> str:
    with pytest.raises(FrameError) as caught:
        _zstd.decompress(data, size, buffers)
    return str(caught.value)


@pytest.mark.parametrize("content", [CONTENT, b"a", b"\0" * 1_000_000, b""])
def test_frame_is_decompressed(content: bytes, buffers: Buffers | None) -> None:
    frame = make_frame(content) if content else b""
    assert _zstd.decompress(frame, len(content), buffers) == content


def test_size_that_differs_from_the_declared_one(buffers: Buffers | None) -> None:
    for size in (len(CONTENT) - 1, len(CONTENT) + 1, 2**60):
        assert frame_error(make_frame(CONTENT), size, buffers) == (
            f"the zstd frame declares {len(CONTENT)} bytes of content, expected {size}"
        )


def test_frame_without_a_declared_size(buffers: Buffers | None) -> None:
    assert frame_error(make_frame(CONTENT, content_size_flag=0), buffers=buffers) == (
        f"the zstd frame declares no content size, expected {len(CONTENT)}"
    )


def test_frame_without_a_checksum(buffers: Buffers | None) -> None:
    frame = make_frame(CONTENT, checksum_flag=0)
    assert frame_error(frame, buffers=buffers) == "the zstd frame has no content checksum"


@pytest.mark.parametrize("data", [b"x", make_frame(b"")])
def test_bytes_for_empty_content(data: bytes, buffers: Buffers | None) -> None:
    expected = f"an entry without content has {len(data)} bytes, expected 0"
    assert frame_error(data, 0, buffers) == expected


@pytest.mark.parametrize(
    "data",
    [b"", b"\x28", b"PK\x03\x04" + bytes(40), b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + make_frame(b"a")],
    ids=["empty", "one byte", "zip", "skippable frame"],
)
def test_bytes_that_are_not_a_frame(data: bytes, buffers: Buffers | None) -> None:
    assert frame_error(data, buffers=buffers) == "not a zstd frame"


@pytest.mark.parametrize("content", [CONTENT, CONTENT + bytes(2 * CHUNK)], ids=len)
def test_every_truncation(content: bytes, buffers: Buffers | None) -> None:
    whole = make_frame(content)
    for length in range(len(whole)):
        frame_error(whole[:length], len(content), buffers)
    assert frame_error(whole[:-1], len(content), buffers) == (
        "the zstd frame does not end with its entry"
    )


@pytest.mark.parametrize("after", [b"\0", b"\0" * 100, make_frame(CONTENT)])
def test_bytes_after_the_frame(after: bytes, buffers: Buffers | None) -> None:
    reason = frame_error(make_frame(CONTENT) + after, buffers=buffers)
    assert reason == "the zstd frame does not end with its entry"


def test_changed_checksum(buffers: Buffers | None) -> None:
    for content in (CONTENT, CONTENT + bytes(2 * CHUNK)):
        whole = bytearray(make_frame(content))
        whole[-1] ^= 1
        reason = frame_error(bytes(whole), len(content), buffers)
        assert reason == "the zstd frame is damaged"


def outcomes_of_flipped_bits(content: bytes, buffers: Buffers | None) -> Iterator[str]:
    """Yield the error for each bit that is flipped; zstd ignores a few bits."""
    whole = make_frame(content)
    for position in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        try:
            assert _zstd.decompress(bytes(damaged), len(content), buffers) == content
            yield "harmless"
        except FrameError as error:
            yield str(error)


# The second content takes several chunks.
FLIPPED = [CONTENT, bytes(2 * CHUNK) + bytes(np.random.default_rng(0).binomial(6, 0.5, 200))]


@pytest.mark.parametrize("content", FLIPPED, ids=len)
def test_every_flipped_bit(content: bytes, buffers: Buffers | None) -> None:
    outcomes = list(outcomes_of_flipped_bits(content, buffers))
    assert outcomes.count("harmless") < 20


@pytest.mark.parametrize("content", FLIPPED, ids=len)
def test_messages_do_not_depend_on_the_library(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for library in LIBRARIES.values():
        monkeypatch.setattr(_zstd, "_stdlib", library)
        for buffers in (None, Buffers(read_nothing)):
            outcomes = list(outcomes_of_flipped_bits(content, buffers))
            found.append(outcomes)
    for messages in zip(*found, strict=True):
        # Older versions of zstd ignore a few more bits.
        assert len(set(messages) - {"harmless"}) <= 1


def test_frame_with_more_content_than_it_declares(buffers: Buffers | None) -> None:
    for size in (300, CHUNK + 10, 3 * CHUNK):
        whole = make_frame(b"\0" * size)
        stored, declared = (size - 256, size - 266) if size < 65792 else (size, size - 10)
        width = 2 if size < 65792 else 4
        changed = whole.replace(
            stored.to_bytes(width, "little"), declared.to_bytes(width, "little"), 1
        )
        assert changed != whole
        assert frame_error(changed, size - 10, buffers) == "the zstd frame is damaged"


class CarelessDecompressor:
    """Gives some content in chunks, like a library that does not validate frames."""

    def __init__(self, content: bytes, *, ends: bool) -> None:
        self._content = BytesIO(content)
        self._size = len(content)
        self._ends = ends
        self.needs_input = True
        self.eof = False

    def decompress(self, _: bytes, max_length: int) -> bytes:
        content = self._content.read(max_length)
        self.needs_input = self._content.tell() == self._size
        self.eof = self.needs_input and self._ends
        return content

    def stream_reader(self, _: bytes) -> BytesIO:
        return self._content


@pytest.mark.parametrize("size", [1000, 3 * CHUNK])
@pytest.mark.parametrize(
    ("excess", "ends", "problem"), [(-1, True, "less"), (1, True, "more"), (0, False, "less")]
)
@pytest.mark.parametrize("into", [False, True])
def test_standard_library_that_does_not_validate_frames(
    size: int, excess: int, problem: str, monkeypatch: pytest.MonkeyPatch, *, ends: bool, into: bool
) -> None:
    decompressor = CarelessDecompressor(bytes(size + excess), ends=ends)
    library = SimpleNamespace(
        DecompressionParameter=stdlib.DecompressionParameter,
        ZstdError=stdlib.ZstdError,
        ZstdDecompressor=lambda **_: decompressor,
    )
    monkeypatch.setattr(_zstd, "_stdlib", library)
    reason = frame_error(make_frame(bytes(size)), size, Buffers(read_nothing) if into else None)
    assert reason == f"the zstd frame has {problem} content than it declares"


def test_library_that_does_not_compare_the_content_with_the_declared_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("zstandard")
    monkeypatch.setattr(_zstd, "_stdlib", None)
    library: Any = CarelessDecompressor(CONTENT[:-1], ends=True)
    monkeypatch.setattr(_zstd._thread_local, "decompressor", library, raising=False)
    reason = frame_error(make_frame(CONTENT), buffers=Buffers(read_nothing))
    assert reason == "the zstd frame has less content than it declares"


def test_frame_with_a_large_window(buffers: Buffers | None) -> None:
    content = bytes(130 << 20)
    whole = make_frame(content, window_log=28)
    # The frame is a single segment, so that its window is its content. zstd's own limit is 2^27.
    assert whole[4] >> 5 & 1
    assert len(content) > 1 << 27
    assert _zstd.decompress(whole, len(content), buffers) == content


@pytest.mark.parametrize("size", [1, 255, 256, 65_791, 65_792, CHUNK, CHUNK + 1, 300_000])
def test_frames_with_every_kind_of_header_and_block(size: int, buffers: Buffers | None) -> None:
    rng = np.random.default_rng(0)
    for content in (bytes(size), rng.bytes(size), rng.integers(0, 9, size, np.uint8).tobytes()):
        for level in (1, 19):
            for parts in (1, 2):
                whole = make_frame(content, level, parts=parts)
                assert _zstd.decompress(whole, size, buffers) == content
                frame_error(whole + b"\0", size, buffers)
                frame_error(whole[:-1], size, buffers)


@pytest.mark.parametrize("compressible", [False, True])
def test_memory_peak_is_the_content(buffers: Buffers | None, *, compressible: bool) -> None:
    size = 20 << 20
    content = bytes(size) if compressible else np.random.default_rng(0).bytes(size)
    whole = make_frame(content)
    tracemalloc.start()
    try:
        assert len(_zstd.decompress(whole, size, buffers)) == size
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size + 1_500_000


WITHOUT_LIBRARIES = """\
import sys
sys.modules["compression.zstd"] = sys.modules["zstandard"] = None
import vggq
try:
    vggq.load(sys.argv[1])
except vggq.VggqError as error:
    print(type(error).__name__, error)
"""


def test_missing_library_is_named(packed: Any) -> None:
    command = [sys.executable, "-c", WITHOUT_LIBRARIES, str(packed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MissingDependencyError this Python has no zstd of its own, and ")
    assert done.stdout.endswith("; run `pip install zstandard`\n")


def test_python_that_was_built_without_zstd_uses_zstandard(packed: Any) -> None:
    pytest.importorskip("zstandard")
    code = WITHOUT_LIBRARIES.replace(' = sys.modules["zstandard"]', "")
    done = subprocess.run(
        [sys.executable, "-c", code, str(packed)], capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")
