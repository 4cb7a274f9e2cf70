"""The `grid` codec, compared with the Python code in docs/format.md, which the tests execute."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vggq._codecs import Grid, _levels, _streams
from vggq._codecs._streams import Kind, Plain, Runs
from vggq._codecs._trellis import STATES
from vggq._codecs._vectors import _multiply
from vggq.packing.codecs.grid import streams

if TYPE_CHECKING:
    from numpy.typing import NDArray

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "format.md"
SECTION = DOCUMENT.read_text(encoding="utf-8").split("### `grid`")[1].split("\n## ")[0]


def block(language: str) -> str:
    """Return the section's only code block in a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
    return str(found)


def documented(content: bytes, count: int, codec: Grid) -> Any:
    """Decode with the code of the document."""
    names: dict[str, Any] = {}
    exec(compile(block("python"), str(DOCUMENT), "exec"), names)
    return names["decode_grid"](content, count, **codec.parameters())


def restore(content: bytes, count: int, codec: Grid, **options: int) -> NDArray[np.float32]:
    codec.validate(content, count)
    restored = np.empty(count, np.float32)
    codec.decode_into(content, restored, **options)
    return restored


def test_worked_example_of_the_document() -> None:
    content = bytes.fromhex(block("text"))
    codec = Grid(taps=2, first=False, rows=1, dependent=8, size=len(content))
    assert f"`size` {codec.content_size(10)}" in SECTION
    expected = [1.5, 1.5, -1, -1, 0.5, -0.5, 99.75, 99.75, 0, 0.5]
    assert restore(content, 10, codec).tolist() == expected
    assert documented(content, 10, codec).tolist() == expected


kinds = st.sampled_from([0, 1, 2, 4, 8]).map(Plain) | st.integers(1, 127).map(Runs)


@st.composite
def contents(draw: st.DrawFn) -> tuple[bytes, int, Grid]:
    """Draw any content, with bands of all kinds, its number of weights, and its codec."""
    taps, rows = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    count = rows * draw(st.sampled_from([0, 1, 2, 7, 8, 300, 512]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    size = draw(st.sampled_from([1, 3, 100, 1 << 20]))

    def band(kind: Kind) -> streams.BandStream:
        levels = np.rint(rng.laplace(size=count) * size).clip(-(1 << 23), 1 << 23).astype(np.int32)
        return streams.encode_levels(kind, draw(st.integers(1, 127)), levels)

    # Neighbors of one kind are decoded together.
    found = draw(st.lists(kinds, min_size=taps, max_size=taps) | kinds.map(lambda kind: [kind] * 3))
    bands = streams.serialize_bands([band(kind) for kind in found[:taps]])
    step = np.float32(draw(st.floats(2.0**-30, 2.0**30, width=32)))
    basis = rng.integers(-(1 << 15), 1 << 15, taps * taps * (taps > 1)).astype("<i2")
    order = rng.permutation(rows * (rows > 1)).astype("<u2")
    content = b"".join([step.tobytes(), basis.tobytes(), order.tobytes(), *bands])
    codec = Grid(taps, draw(st.booleans()), rows, draw(st.sampled_from(STATES)), len(content))
    return content, count * taps, codec


@given(contents())
def test_content_is_restored_as_documented(drawn: tuple[bytes, int, Grid]) -> None:
    content, count, codec = drawn
    assert codec.content_size(count) == len(content)
    restored = restore(content, count, codec)
    np.testing.assert_array_equal(restored, documented(content, count, codec))


@given(contents())
def test_chunks_may_begin_and_end_within_rows(drawn: tuple[bytes, int, Grid]) -> None:
    content, count, codec = drawn
    whole = restore(content, count, codec)
    np.testing.assert_array_equal(restore(content, count, codec, chunk=1), whole)


@given(contents())
def test_rows_are_put_in_order_before_or_after_decoding(drawn: tuple[bytes, int, Grid]) -> None:
    content, count, codec = drawn
    whole = restore(content, count, codec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_levels, "_MAX_REORDERED", -1)
        assert restore(content, count, codec).tobytes() == whole.tobytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_levels, "_CHUNK", 1)
        assert restore(content, count, codec).tobytes() == whole.tobytes()


@pytest.mark.parametrize(
    ("taps", "rows", "length"),
    [(1, 2, 1024), (3, 100, 8), (1, 1 << 16, 8), (2, 1 << 16, 8), (9, 1 << 13, 8), (1, 2, 100_000)],
)
def test_escapes_follow_their_rows(
    monkeypatch: pytest.MonkeyPatch, taps: int, rows: int, length: int
) -> None:
    """Rows and escapes beyond 16 bits, and chunks that begin within rows."""
    rng = np.random.default_rng(0)
    levels = rng.integers(128, 1 << 20, (taps, rows, length), np.int32)
    if rows > 2:
        levels[rng.random(levels.shape) < 0.9] = 3
    bands = streams.serialize_bands(
        [streams.encode_levels(Plain(0), 127, band.reshape(-1)) for band in levels]
    )
    basis = np.eye(taps, dtype="<i2")[: taps * (taps > 1)]
    order = rng.permutation(rows).astype("<u2")
    parts = [np.float32(1).tobytes(), basis.tobytes(), order.tobytes(), *bands]
    content = b"".join(parts)
    expected = np.empty((rows, length, taps), np.float32)
    expected[order] = levels.transpose(1, 2, 0)
    monkeypatch.setattr(_levels, "_CHUNK", 1)
    codec = Grid(taps, False, rows, 1, len(content))
    restored = restore(content, levels.size, codec, chunk=512 * taps)
    np.testing.assert_array_equal(restored, expected.reshape(-1))


@pytest.mark.parametrize("first", [0, 1 << 18])
def test_escapes_are_found_in_every_chunk(first: int) -> None:
    levels = np.zeros((1 << 19) + 5, np.int32)
    places = [0, 7, 8, 9, (1 << 18) - 1, 1 << 18, (1 << 19) - 1, 1 << 19, levels.size - 1]
    places = [place for place in places if place >= first]
    levels[places] = np.arange(200, 200 + len(places))
    band = streams.serialize_bands([streams.encode_levels(Plain(0), 127, levels)])
    content = b"".join([np.float32(1).tobytes(), *band])
    restored = restore(content, levels.size, Grid(1, False, 1, 1, len(content)))
    np.testing.assert_array_equal(restored, levels)


@pytest.mark.parametrize("count", [0, 4])
def test_decoding_validates_before_it_writes(count: int) -> None:
    levels = np.array([1, 2, 300, 4][:count], np.int32)
    band = b"".join(streams.serialize_bands([streams.encode_levels(Plain(0), 127, levels)]))
    for content in (np.float32(0).tobytes() + band, np.float32(1).tobytes() + b"\3" + band[1:]):
        out = np.full(count, 7, np.float32)
        with pytest.raises(ValueError, match=r"the step size is 0\.0|unknown kind 3"):
            Grid(1, False, 1, 1, len(content)).decode_into(content, out)
        assert (out == 7).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"taps": 2.0}, "expected the parameters taps: int, first: bool, "),
        ({"first": 0}, "expected the parameters taps: int, first: bool, "),
        ({"more": 1}, "expected the parameters taps: int, first: bool, "),
        ({"taps": 0}, "expected 1 to 128 taps and 1 to 65536 rows"),
        ({"taps": 129}, "expected 1 to 128 taps and 1 to 65536 rows"),
        ({"rows": 0}, "expected 1 to 128 taps and 1 to 65536 rows"),
        ({"rows": 65537}, "expected 1 to 128 taps and 1 to 65536 rows"),
        ({"dependent": True}, "expected the parameters taps: int, first: bool, "),
        ({"dependent": 2}, "dependent is 2, expected one of 1, 4, 8, 16, 32, 64, 128, 256"),
        ({"dependent": 512}, "dependent is 512, expected one of 1, 4, 8, 16, 32, 64, 128, 256"),
    ],
)
def test_invalid_parameters_are_rejected(changes: dict[str, Any], message: str) -> None:
    parameters = Grid(taps=128, first=True, rows=65536, dependent=256, size=9).parameters()
    assert Grid.from_parameters(parameters).parameters() == parameters
    with pytest.raises(ValueError, match=message):
        Grid.from_parameters(parameters | changes)


@given(contents())
def test_streams_are_expanded_in_parts(drawn: tuple[bytes, int, Grid]) -> None:
    content, count, codec = drawn
    whole = restore(content, count, codec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_streams, "_CHUNK", 3)
        assert restore(content, count, codec).tobytes() == whole.tobytes()


def test_streams_are_expanded_with_little_memory() -> None:
    """The levels take a byte each; nothing else grows with the stream."""
    kind, count = Runs(42), 3_000_000
    stream = np.zeros(count, np.uint8)
    tracemalloc.start()
    try:
        assert kind.expand(stream[None], count).size == count
        assert tracemalloc.get_traced_memory()[1] < count + 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("taps", "rows"), [(1, 1), (9, 1), (9, 611), (1, 50_000)])
@pytest.mark.parametrize("size", [440_000, 1_000_000])
def test_content_of_escapes_only_takes_little_memory(taps: int, rows: int, size: int) -> None:
    """An escape takes its value, and an index until all levels are decoded."""
    levels = np.full(size // rows // taps * rows, 300, np.int32)
    count = levels.size * taps
    bands = streams.serialize_bands([streams.encode_levels(Plain(0), 127, levels)] * taps)
    basis = np.eye(taps, dtype="<i2").reshape(-1)[: taps * taps * (taps > 1)]
    order = np.arange(rows * (rows > 1), dtype="<u2")[::-1]
    parts = [np.float32(1).tobytes(), basis.tobytes(), order.tobytes(), *bands]
    content = b"".join(parts)
    restored = np.empty(count, np.float32)
    tracemalloc.start()
    try:
        Grid(taps, False, rows, 1, len(content)).decode_into(content, restored)
        assert tracemalloc.get_traced_memory()[1] < 12 * count + 8_000_000
    finally:
        tracemalloc.stop()
    assert (restored == 300).all()


def test_row_order_that_is_not_a_permutation() -> None:
    band = streams.serialize_bands([streams.encode_levels(Plain(0), 1, np.zeros(3, np.int32))])
    for order in ([0, 0, 1], [1, 2, 3]):
        content = b"".join([np.float32(1).tobytes(), np.array(order, "<u2").tobytes(), *band])
        with pytest.raises(ValueError, match=r"^the row order is not a permutation of 0\.\.2$"):
            Grid(1, False, 3, 1, len(content)).validate(content, 3)


def test_products_are_too_small_for_threads_of_openblas(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []

    def record(a: NDArray[Any], b: NDArray[Any], out: NDArray[Any]) -> None:
        parts = b.reshape(-1, *b.shape[-2:])
        shapes.extend((*a.shape, part.shape[1]) for part in parts)
        np.einsum("ij,...jk->...ik", a, b, out=out)

    monkeypatch.setattr(np, "matmul", record)
    rng = np.random.default_rng(0)
    for taps, count in ((9, 5_000), (9, 3_236), (128, 200), (2, 1)):
        shapes.clear()
        matrix, values = rng.integers(-9, 9, (taps, taps)), rng.integers(-9, 9, (taps, count))
        product = _multiply(matrix, values, np.empty_like(values))
        np.testing.assert_array_equal(product, np.einsum("ij,jk->ik", matrix, values))
        assert sum(columns for _, _, columns in shapes) == count
        assert all(m * n * k <= 1 << 18 or k == 64 for m, n, k in shapes)


def test_escape_that_exceeds_the_largest_level() -> None:
    content = bytes.fromhex(block("text"))[:-4] + (1 << 23).to_bytes(4, "little")
    codec = Grid(2, False, 1, 4, len(content))
    codec.validate(content, 10)
    content = content[:-4] + ((1 << 23) + 1).to_bytes(4, "little")
    with pytest.raises(ValueError, match="the level 8388609 of an escape exceeds 8388608"):
        codec.validate(content, 10)
    content = content[:-4] + (-(1 << 31)).to_bytes(4, "little", signed=True)
    with pytest.raises(ValueError, match="the level 2147483648 of an escape exceeds 8388608"):
        codec.validate(content, 10)


@pytest.mark.parametrize("step", [0.0, -1.0, np.nan, np.inf])
def test_step_that_is_not_a_positive_number(step: float) -> None:
    content = np.float32(step).tobytes() + bytes.fromhex(block("text"))[4:]
    with pytest.raises(ValueError, match=r"^the step size is .*, expected a positive number$"):
        Grid(2, False, 1, 4, len(content)).validate(content, 10)


@pytest.mark.parametrize("level", [2, 1 << 23])
def test_weights_beyond_float32_saturate_without_a_warning(level: int) -> None:
    levels = np.array([level, -level, 0], np.int32)
    band = streams.serialize_bands([streams.encode_levels(Plain(0), 127, levels)])
    content = b"".join([np.float32(3e38).tobytes(), *band])
    restored = restore(content, 3, Grid(1, False, 1, 1, len(content)))
    largest = np.finfo(np.float32).max
    assert restored.tolist() == [largest, -largest, 0]
