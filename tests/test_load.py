"""`vggq.load`: dtypes, threads, and arrays of the caller."""

from __future__ import annotations

import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

import vggq
from vggq import _arguments, _load, errors
from vggq._packed_file import open_packed
from vggq.packing import pack

from .helpers import assert_own_memory, assert_same_arrays, saturated, save_npz, save_safetensors

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATING = [np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64), BFLOAT16]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pack every floating-point dtype, quantized and exact; the small ones with every bit pattern.

    Most tensors are large enough to be decoded in threads of their own, and f32 is large enough to
    be read twice when it is loaded into an array.
    """
    folder = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(3)
    every = np.arange(1 << 18, dtype="<u4").astype("<u2").reshape(512, 512)
    weight = rng.standard_normal((520, 512)).astype("<f4")
    wide = np.array([1 / 3, 1 + 2**-11 + 2**-40, 1e300, -1e-300, np.nan, -0.0])
    tensors = {
        "f16": ("F16", every),
        "f16.weight": ("F16", weight.astype("<f2")),
        "bf16": ("BF16", every),
        "bf16.weight": ("BF16", (weight.view("<u4") >> 16).astype("<u2")),
        "f32": ("F32", rng.integers(0, 1 << 32, 300_000, dtype="<u4")),
        "f32.weight": ("F32", weight),
        "f64": ("F64", wide),
        "f64.weight": ("F64", rng.standard_normal((40, 50))),
        "i64": ("I64", np.array(7)),
        "mask": ("BOOL", np.array([True, False])),
    }
    source = save_safetensors(folder / "mixed.safetensors", tensors)
    return pack(source, folder / "mixed.vggq", keep=["f16", "bf16"]).target


def empty_like(arrays: Arrays) -> Arrays:
    return {name: np.full_like(array, 1) for name, array in arrays.items()}


@pytest.mark.parametrize("dtype", FLOATING, ids=str)
def test_dtype_applies_to_floating_point_tensors_only(mixed: Path, dtype: np.dtype[Any]) -> None:
    restored = vggq.load(mixed, dtype=dtype)
    plain = vggq.load(mixed)
    assert_own_memory([*restored.values(), *plain.values()])
    for name, array in plain.items():
        assert restored[name].dtype == (dtype if array.dtype == np.float32 else array.dtype)
        if array.dtype == np.float32 and name != "f64":
            with np.errstate(invalid="ignore"):
                expected = saturated(array, dtype).astype(np.float64)
                np.testing.assert_array_equal(restored[name].astype(np.float64), expected)
        elif name != "f64":
            np.testing.assert_array_equal(restored[name], array)


def test_default_dtype_is_float32(mixed: Path) -> None:
    assert_same_arrays(vggq.load(mixed, dtype=np.float32), vggq.load(mixed))
    assert_same_arrays(vggq.load(mixed, dtype="float32"), vggq.load(mixed, dtype=None))


def test_float64_is_rounded_once(mixed: Path) -> None:
    wide = vggq.load(mixed, dtype=np.float64)["f64"]
    assert wide.tolist()[:4] == [1 / 3, 1 + 2**-11 + 2**-40, 1e300, -1e-300]
    narrow = vggq.load(mixed, dtype=np.float16)["f64"]
    np.testing.assert_array_equal(narrow, np.array([1 / 3, 1 + 2**-10, 65504, 0, np.nan, 0], "f2"))
    assert np.signbit(narrow[[3, 5]]).all()


def test_source_restores_every_dtype_of_the_source(mixed: Path) -> None:
    restored = vggq.load(mixed, dtype="source")
    dtypes = {name: str(array.dtype) for name, array in restored.items() if "." not in name}
    assert dtypes == {
        "bf16": "bfloat16",
        "f16": "float16",
        "f32": "float32",
        "f64": "float64",
        "i64": "int64",
        "mask": "bool",
    }
    every = np.arange(1 << 18, dtype=np.uint32).astype(np.uint16).reshape(512, 512)
    for name in ("f16", "bf16"):
        np.testing.assert_array_equal(restored[name].view(np.uint16), every)
    assert restored["f64"].tolist()[:4] == [1 / 3, 1 + 2**-11 + 2**-40, 1e300, -1e-300]
    plain = vggq.load(mixed)
    for name in ("f16.weight", "bf16.weight", "f32.weight", "f64.weight"):
        np.testing.assert_array_equal(restored[name], plain[name].astype(restored[name].dtype))


def test_exact_float32_keeps_every_bit(mixed: Path) -> None:
    rng = np.random.default_rng(3)
    rng.standard_normal((520, 512))
    expected = rng.integers(0, 1 << 32, 300_000, dtype="<u4")
    for dtype in (None, "source", np.float32):
        np.testing.assert_array_equal(vggq.load(mixed, dtype=dtype)["f32"].view("u4"), expected)


def test_bfloat16_can_be_named(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_same_arrays(vggq.load(packed, dtype="bfloat16"), vggq.load(packed, dtype=BFLOAT16))
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(errors.MissingDependencyError, match="dtype bfloat16 needs ml_dtypes; run"):
        vggq.load(packed, dtype="bfloat16")


def test_missing_ml_dtypes_is_named_with_the_tensor(
    mixed: Path, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(errors.MissingDependencyError) as caught:
        vggq.load(mixed, dtype="source")
    assert str(caught.value) == (
        "tensor 'bf16': dtype bfloat16 needs ml_dtypes; run `pip install ml_dtypes`"
    )
    assert vggq.load(packed, dtype="source")["half.weight"].dtype == np.float16


@pytest.mark.parametrize(
    ("dtype", "found"),
    [
        ("flaot16", "'flaot16'"),
        (np.int32, "int32"),
        (bool, "bool"),
        ("i99,(", "'i99,('"),
        ("3000000000000000000000f4", "'3000000000000000000000f4'"),
        (">f4", ">f4"),
        (ml_dtypes.float8_e5m2, "float8_e5m2"),
        ("surprise", "'surprise'"),
    ],
)
def test_unsupported_dtype_is_rejected(packed: Path, dtype: Any, found: str) -> None:
    with pytest.raises(errors.OptionError) as caught:
        vggq.load(packed, dtype=dtype)
    expected = "float16, float32, float64, bfloat16 or 'source'"
    assert str(caught.value) == f"dtype: expected {expected}, found {found}"


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("dtype", FLOATING, ids=str)
def test_dtype_with_codes_of_every_width(tmp_path: Path, bits: int, dtype: np.dtype[Any]) -> None:
    rng = np.random.default_rng(bits)
    arrays = {str(n): rng.standard_normal((n, 13)).astype("f4") for n in (77, 5041, 5042, 10_083)}
    target = pack(save_npz(tmp_path / "w.npz", arrays), tmp_path / "w.vggq", bits=bits).target
    expected = {name: array.astype(dtype) for name, array in vggq.load(target).items()}
    assert_same_arrays(vggq.load(target, dtype=dtype), expected)


@pytest.mark.parametrize("dtype", [None, np.float16, "source"])
def test_out_is_filled_and_returned(mixed: Path, dtype: Any) -> None:
    expected = vggq.load(mixed, dtype=dtype)
    out = empty_like(expected)
    restored = vggq.load(mixed, dtype=dtype, out=out)
    assert all(restored[name] is array for name, array in out.items())
    assert_same_arrays(restored, expected)


@pytest.mark.parametrize("threads", [None, 2, 8])
@pytest.mark.parametrize("dtype", [None, np.float16, np.float64, "source"])
def test_arrays_do_not_depend_on_threads(mixed: Path, threads: int | None, dtype: Any) -> None:
    expected = vggq.load(mixed, dtype=dtype, threads=1)
    assert all(array.flags.writeable for array in expected.values())
    assert_same_arrays(vggq.load(mixed, dtype=dtype, threads=threads), expected)
    out = empty_like(expected)
    vggq.load(mixed, dtype=dtype, threads=threads, out=out)
    assert_same_arrays(out, expected)


def transposed(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.zeros(shape[::-1], dtype).T


def spaced(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    index: Any = (..., *[slice(1, None, 2)] * len(shape))
    every: NDArray[Any] = np.zeros([2 * n + 1 for n in shape], dtype)[index]
    return every


def backward(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    index: Any = (..., *[slice(None, None, -1)] * len(shape))
    turned: NDArray[Any] = np.zeros(shape, dtype)[index]
    return turned


def unaligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    size = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(bytearray(size + 1), dtype, offset=1).reshape(shape)


@pytest.mark.parametrize("make", [transposed, spaced, backward, unaligned])
@pytest.mark.parametrize("dtype", [None, "source"])
def test_out_of_any_strides(mixed: Path, make: Any, dtype: Any) -> None:
    expected = vggq.load(mixed, dtype=dtype)
    out = {name: make(array.shape, array.dtype) for name, array in expected.items()}
    vggq.load(mixed, dtype=dtype, out=out, threads=2)
    assert_same_arrays({name: out[name] for name in expected}, expected)


def test_out_writes_nothing_between_strided_elements(packed: Path) -> None:
    expected = vggq.load(packed)
    out = empty_like(expected)
    base = np.full((80, 60), 5, np.float32)
    out["conv.weight"] = base[::2, 1::2]
    vggq.load(packed, out=out)
    np.testing.assert_array_equal(base[::2, 1::2], expected["conv.weight"])
    assert (base[1::2] == 5).all()
    assert (base[:, ::2] == 5).all()


def test_out_of_subclasses_of_ndarray(tmp_path: Path, packed: Path) -> None:
    expected = vggq.load(packed)
    out = empty_like(expected)
    out["mask"] = np.memmap(tmp_path / "mask", bool, "w+", shape=(50, 30))
    out["conv.weight"] = np.ones((40, 30), np.float32).view(np.matrix)
    assert_same_arrays(vggq.load(packed, out=out), expected)


def test_all_problems_of_out_are_in_one_error(packed: Path) -> None:
    out: dict[str, Any] = empty_like(vggq.load(packed))
    before = {name: array.copy() for name, array in out.items()}
    out["more"] = np.zeros(3)
    out["conv.bias"] = out["conv.bias"].astype(np.float64)
    out["conv.weight"] = out["conv.weight"].T
    out["half.weight"].flags.writeable = False
    out["mask"] = out["mask"].tolist()
    del out["steps"]
    with pytest.raises(errors.OptionError) as caught:
        vggq.load(packed, out=out)
    assert caught.value.problems == [
        ("out['more']", "no tensor has this name"),
        (
            "out['conv.bias']",
            "expected float32 of shape (40,), found float64 of shape (40,)",
        ),
        (
            "out['conv.weight']",
            "expected float32 of shape (40, 30), found float32 of shape (30, 40)",
        ),
        ("out['half.weight']", "read-only"),
        ("out['mask']", "expected a numpy array, found list"),
        ("out['steps']", "missing"),
    ]
    np.testing.assert_array_equal(out["half.weight"], before["half.weight"])


def test_out_of_another_byte_order_is_rejected(packed: Path) -> None:
    out = empty_like(vggq.load(packed))
    out["conv.bias"] = out["conv.bias"].astype(">f4")
    with pytest.raises(errors.OptionError, match="found >f4 of shape"):
        vggq.load(packed, out=out)


def damaged(path: Path) -> bytes:
    """Return the file with a changed bit in its last entry."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    return bytes(data)


@pytest.mark.parametrize("threads", [1, 4])
def test_damaged_tensor_is_named(packed: Path, threads: int) -> None:
    with pytest.raises(errors.DataError, match=r"bytes>: tensor 'steps': "):
        vggq.load(damaged(packed), threads=threads)


@pytest.mark.parametrize("fixture", ["packed", "mixed"])
def test_damage_is_found_before_out_is_written(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    """In `mixed` a raw tensor is so large that it is not kept, but read twice."""
    path = request.getfixturevalue(fixture)
    out = empty_like(vggq.load(path))
    last = list(out)[-1]
    with pytest.raises(errors.DataError, match=f"tensor {last!r}: "):
        vggq.load(damaged(path), out=out)
    assert all((array == 1).all() for array in out.values())


@pytest.mark.parametrize("max_kept_raw", [0, 100, 1 << 20])
def test_validated_content_is_the_same_if_it_is_read_again(packed: Path, max_kept_raw: int) -> None:
    with open_packed(packed, None, _arguments.resolve_dtype(None), None) as opened:
        names = list(opened.tensors)
        content_of = _load.validate_all(opened, names, 1, max_kept_raw=max_kept_raw)
        for name in names:
            assert content_of(name) == opened.content(name)
            is_kept = content_of(name) is content_of(name)
            is_large = not opened.tensors[name].quantized and len(content_of(name)) > max_kept_raw
            assert is_kept != is_large


@pytest.mark.parametrize(
    ("source", "dtype"), [("BF16", None), ("BF16", np.float64), ("F64", np.float16), ("F32", None)]
)
def test_memory_peak_is_the_result_and_the_content(tmp_path: Path, source: str, dtype: Any) -> None:
    count, width = 4_000_000, {"BF16": 2, "F64": 8, "F32": 4}[source]
    bits = np.zeros(count * width, np.uint8).view(f"<u{width}")
    path = save_safetensors(tmp_path / "w.safetensors", {"w": (source, bits)})
    target = pack(path, tmp_path / "w.vggq").target
    tracemalloc.start()
    try:
        (array,) = vggq.load(target, dtype=dtype).values()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < array.nbytes + bits.nbytes + 3_000_000
