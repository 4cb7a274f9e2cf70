"""Scales of codebooks and grids, compared with their definition in docs/format.md."""

from __future__ import annotations

import functools
import math
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vggq
from vggq._codecs import Codebook, Grid
from vggq._codecs._scales import MAX_SCALE, Scaler, Slices, widen_scales
from vggq._weights import underlying_file
from vggq.packing import pack

from .helpers import decoded, saturated, save_npz
from .test_grid import documented

if TYPE_CHECKING:
    from numpy.typing import NDArray

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "format.md"
SECTION = DOCUMENT.read_text(encoding="utf-8").split("### Scales")[1].split("\n### ")[0]

# Around the limits at which the decoder multiplies in another way, and sizes of whole chunks.
SHAPES = [
    (1, 1, 1), (3, 1, 5), (1, 7, 1), (5, 3, 63), (2, 3, 64), (1, 3, 65), (1, 1, 70_001),
    (1, 4, 32_768), (1, 5, 20_001), (1, 65_537, 1), (3, 40_000, 1), (2, 9_001, 9), (9, 512, 31),
    (70_001, 2, 1), (1, 3, 65_536), (2, 2, 65_544), (1, 200, 577),
]  # fmt: skip


def expected_weights(
    codebook: NDArray[np.float32], codes: NDArray[np.uint8], scales: NDArray[np.float32], run: int
) -> NDArray[np.float32]:
    """Return the weights by the definition."""
    of_weight = scales[np.arange(codes.size) // run % scales.size]
    return codebook[codes] * of_weight


def make_content(k: int, shape: tuple[int, int, int], seed: int = 0) -> tuple[Any, ...]:
    """Return a codec with random content, the content, and the weights that it stands for."""
    rng = np.random.default_rng(seed)
    codec = Codebook(k, Slices(shape[1], shape[2]))
    count = int(np.prod(shape))
    bits = rng.integers(0, MAX_SCALE + 1, shape[1], np.uint16)
    codebook = np.sort(rng.uniform(-1, 1, k).astype(np.float32))
    codes = rng.integers(0, k, count, np.uint8)
    planes = np.unpackbits(codes[:, None], axis=1, bitorder="little")[:, : codec.width]
    packed = np.packbits(planes.reshape(-1), bitorder="little")
    content = bits.astype("<u2").tobytes() + codebook.tobytes() + packed.tobytes()
    assert len(content) == codec.content_size(count)
    return codec, content, expected_weights(codebook, codes, widen_scales(bits), shape[2])


def assert_same_bits(found: NDArray[Any], expected: NDArray[Any]) -> None:
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("k", [2, 3, 16, 256])
def test_weights_are_products_of_centroids_and_scales(k: int, shape: tuple[int, int, int]) -> None:
    codec, content, expected = make_content(k, shape)
    assert_same_bits(decoded(codec, content, expected.size), expected)


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float64, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2]
)
@pytest.mark.parametrize("shape", [(5, 3, 63), (1, 3, 65_536), (2, 9_001, 9)], ids=str)
def test_products_are_rounded_to_the_dtype_of_the_array(
    dtype: Any, shape: tuple[int, int, int]
) -> None:
    codec, content, expected = make_content(200, shape)
    out = np.empty(expected.size, dtype)
    codec.decode_into(content, out)
    assert_same_bits(out, saturated(expected, np.dtype(dtype)))


@settings(deadline=None)
@given(
    run=st.integers(1, 300),
    scales=st.integers(1, 300),
    periods=st.integers(1, 4),
    chunk=st.integers(1, 40).map(lambda n: 8 * n),
)
def test_scaler_multiplies_chunks_of_any_size(
    run: int, scales: int, periods: int, chunk: int
) -> None:
    slices = Slices(scales, run)
    factors = np.arange(1, scales + 1, dtype=np.float32)
    weights = np.arange(periods * slices.period, dtype=np.float32)
    expected = weights * factors[np.arange(weights.size) // run % scales]
    scaler = Scaler(slices, factors, chunk)
    assert scaler.chunk % 8 == 0
    for begin in range(0, weights.size, scaler.chunk):
        scaler.multiply(weights[begin : begin + scaler.chunk], begin)
    np.testing.assert_array_equal(weights, expected)


def documented_scale(weights: Any, content: bytes, codec: Grid) -> Any:
    """Multiply by the scales with the code of the document."""
    (code,) = re.findall(r"^```python\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"np": np, "LARGEST": float(np.finfo("f4").max)}
    exec(compile(code, "format.md", "exec"), names)
    assert codec.slices
    return names["scale"](weights, content, codec.slices.scales, codec.slices.run)


@functools.cache
def grid_content(shape: tuple[int, ...], axis: int, *, dependent: bool) -> tuple[Grid, bytes]:
    """Return a grid with scales and its content: correlated weights in slices of any spread."""
    rng = np.random.default_rng(axis)
    values = rng.standard_normal(shape) * 0.2
    small = tuple(1 if size < 10 else size for size in shape)
    values += rng.standard_normal(small)
    spread = np.exp2(rng.integers(-9, 9, shape[axis]))
    values *= spread.reshape([-1 if at == axis else 1 for at in range(len(shape))])
    with tempfile.TemporaryDirectory() as folder:
        source = save_npz(Path(folder, "s.npz"), {"w": values.astype(np.float32)})
        target = Path(folder, "s.vggq")
        pack(source, target, sqnr=25, scale=axis, dependent=dependent)
        with vggq.open(target) as weights:
            codec = weights.tensors["w"].codec
            assert isinstance(codec, Grid)
            return codec, bytes(underlying_file(weights).content("w"))


GRIDS = [
    (shape, axis, dependent)
    for shape in ((16, 12, 3, 3), (3, 3, 12, 16), (40, 30))
    for axis in range(len(shape))
    for dependent in (True, False)
]


@pytest.mark.parametrize(("shape", "axis", "dependent"), GRIDS, ids=str)
def test_weights_of_a_grid_are_multiplied_by_their_scales(
    shape: tuple[int, ...], axis: int, *, dependent: bool
) -> None:
    codec, content = grid_content(shape, axis, dependent=dependent)
    assert codec.slices == Slices(shape[axis], math.prod(shape[axis + 1 :]))
    assert codec.taps == (9 if len(shape) == 4 else 1)
    count, size = math.prod(shape), codec.slices.size
    plain = codec._replace(slices=None, size=codec.size - size)
    expected = documented_scale(documented(content[size:], count, plain), content, codec)
    assert codec.content_size(count) == len(content)
    assert_same_bits(decoded(codec, content, count), expected)
    for dtype in (np.float16, np.float64, ml_dtypes.bfloat16):
        out = np.empty(count, dtype)
        codec.decode_into(content, out, chunk=512)
        assert_same_bits(out, saturated(expected, np.dtype(dtype)))


@pytest.mark.parametrize("shape", [(16, 12, 3, 3), (3, 3, 12, 16)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_products_of_a_grid_saturate(shape: tuple[int, ...], dtype: Any) -> None:
    codec, content = grid_content(shape, 1, dependent=False)
    assert codec.slices
    size = codec.slices.size
    huge = b"\x7f\x7f" * codec.slices.scales + np.array([4], "<f4").tobytes() + content[size + 4 :]
    plain = codec._replace(slices=None, size=codec.size - size)
    weights = documented(huge[size:], math.prod(shape), plain)
    expected = documented_scale(weights, huge, codec)
    assert np.abs(expected).max() == np.finfo("f4").max
    out = np.empty(weights.size, dtype)
    codec.validate(huge, weights.size)
    codec.decode_into(huge, out)
    assert_same_bits(out, saturated(expected, np.dtype(dtype)))


def test_damaged_scales_of_a_grid_are_rejected() -> None:
    codec, content = grid_content((40, 30), 1, dependent=False)
    with pytest.raises(ValueError, match="a scale is not a finite number of at least 0"):
        codec.validate(b"\x80\xff" + content[2:], 1200)
    with pytest.raises(ValueError, match="1201 weights cannot be split into 30 slices"):
        codec.content_size(1201)


def test_grid_with_scales_has_one_row() -> None:
    codec, _ = grid_content((40, 30), 1, dependent=False)
    assert Grid.from_parameters(codec.parameters()) == codec
    with pytest.raises(ValueError, match="expected 1 row with scales, found 2"):
        Grid.from_parameters(codec.parameters() | {"rows": 2})
    with pytest.raises(ValueError, match="expected scales and run, both at least 1"):
        Grid.from_parameters(codec.parameters() | {"run": 0})


def test_worked_example_of_the_document() -> None:
    (example,) = re.findall(r"^```text\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
    found = decoded(Codebook(2, Slices(3, 1)), bytes.fromhex(example), 6)
    assert found.tolist() == [0.5, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("bits", [0x7F80, 0x7FC0, 0x8000, 0xBF80, 0xFF80, 0xFFFF])
def test_scale_that_is_negative_or_not_finite_is_rejected(bits: int) -> None:
    scales = np.array([0x3F80, bits, 0], "<u2").tobytes()
    content = scales + np.array([0.5, 1], "<f4").tobytes() + bytes(1)
    with pytest.raises(ValueError, match="a scale is not a finite number of at least 0"):
        decoded(Codebook(2, Slices(3, 1)), content, 6)


@pytest.mark.parametrize("centroid", [np.nan, np.inf, -np.inf, 1.0001, -1.0001])
@pytest.mark.parametrize("place", [0, 1])
def test_centroid_beyond_1_is_rejected_with_scales_only(centroid: float, place: int) -> None:
    codebook = np.zeros(2, np.float32)
    codebook[place] = centroid
    codes = codebook.tobytes() + bytes([0xFF])
    decoded(Codebook(2), codes, 6)
    with pytest.raises(ValueError, match="a centroid of a tensor with scales is not from -1 to 1"):
        decoded(Codebook(2, Slices(1, 1)), b"\x80\x3f" + codes, 6)


@pytest.mark.parametrize(
    "parameters",
    [
        {"scales": 3},
        {"run": 3},
        {"scales": 0, "run": 1},
        {"scales": 1, "run": 0},
        {"scales": -1, "run": 1},
        {"scales": 1.0, "run": 1},
        {"scales": True, "run": 1},
        {"scales": 1, "run": None},
        {"scales": [1], "run": 1},
    ],
    ids=str,
)
def test_invalid_parameters_are_rejected(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected scales and run, both at least 1"):
        Codebook.from_parameters({"centroids": 2, **parameters})


@pytest.mark.parametrize(
    ("count", "slices"),
    [(0, (1, 1)), (6, (4, 1)), (6, (1, 4)), (6, (2, 2)), (6, (7, 1)), (6, (1 << 53, 1 << 53))],
    ids=str,
)
def test_slices_that_do_not_divide_the_tensor_are_rejected(
    count: int, slices: tuple[int, int]
) -> None:
    with pytest.raises(ValueError, match=f"^{count} weights cannot be split into {slices[0]} "):
        Codebook(2, Slices(*slices)).content_size(count)


def test_parameters_round_trip() -> None:
    codec = Codebook(200, Slices(512, 9))
    assert codec.parameters() == {"centroids": 200, "scales": 512, "run": 9}
    assert Codebook.from_parameters(codec.parameters()) == codec
    assert Codebook(200).parameters() == {"centroids": 200}
