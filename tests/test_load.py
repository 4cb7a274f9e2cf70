"""Loading as another dtype, and into arrays that are there already."""

from __future__ import annotations

import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

import vggq
from vggq import _arguments, _dtypes, _load, _threads, errors
from vggq._codecs import Codebook
from vggq._manifest import TensorInfo
from vggq.packing import pack

from .helpers import save_npz, save_safetensors

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATING = [np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64), BFLOAT16]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every floating dtype, quantized and exact, every bit pattern of the small ones."""
    folder = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(3)
    every = np.arange(1 << 16, dtype="<u2").reshape(256, 256)
    weight = rng.standard_normal((300, 400)).astype("<f4")
    wide = np.array([1 / 3, 1 + 2**-11 + 2**-40, 1e300, -1e-300, np.nan, -0.0])
    tensors = {
        "f16": ("F16", every),
        "f16.weight": ("F16", weight.astype("<f2")),
        "bf16": ("BF16", every),
        "bf16.weight": ("BF16", (weight.view("<u4") >> 16).astype("<u2")),
        "f32": ("F32", rng.integers(0, 1 << 32, 200_000, dtype="<u4")),
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


def assert_same(restored: Arrays, expected: Arrays) -> None:
    assert list(restored) == list(expected)
    for name, array in expected.items():
        assert (restored[name].dtype, restored[name].shape) == (array.dtype, array.shape)
        assert restored[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("dtype", FLOATING, ids=str)
def test_floating_point_is_of_the_dtype_and_nothing_else_is(
    mixed: Path, dtype: np.dtype[Any]
) -> None:
    restored = vggq.load(mixed, dtype=dtype)
    plain = vggq.load(mixed)
    for name, array in plain.items():
        assert restored[name].dtype == (dtype if array.dtype == np.float32 else array.dtype)
        assert restored[name].flags.writeable
        assert restored[name].flags.owndata
        if name != "f64":
            with np.errstate(all="ignore"):
                expected = array.astype(restored[name].dtype).astype(np.float64)
                np.testing.assert_array_equal(restored[name].astype(np.float64), expected)


def test_the_default_is_float32(mixed: Path) -> None:
    assert_same(vggq.load(mixed, dtype=np.float32), vggq.load(mixed))
    assert_same(vggq.load(mixed, dtype="float32"), vggq.load(mixed, dtype=None))


def test_float64_is_rounded_once(mixed: Path) -> None:
    wide = vggq.load(mixed, dtype=np.float64)["f64"]
    assert wide.tolist()[:4] == [1 / 3, 1 + 2**-11 + 2**-40, 1e300, -1e-300]
    narrow = vggq.load(mixed, dtype=np.float16)["f64"]
    np.testing.assert_array_equal(narrow, np.array([1 / 3, 1 + 2**-10, np.inf, 0, np.nan, 0], "f2"))
    assert np.signbit(narrow[[3, 5]]).all()


def test_the_dtypes_of_the_source(mixed: Path) -> None:
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
    every = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    for name in ("f16", "bf16"):
        np.testing.assert_array_equal(restored[name].view(np.uint16), every)
    assert restored["f64"].tolist()[:4] == [1 / 3, 1 + 2**-11 + 2**-40, 1e300, -1e-300]
    plain = vggq.load(mixed)
    for name in ("f16.weight", "bf16.weight", "f32.weight", "f64.weight"):
        np.testing.assert_array_equal(restored[name], plain[name].astype(restored[name].dtype))


def test_the_bits_of_float32_are_kept(mixed: Path) -> None:
    bits = np.random.default_rng(3)
    bits.standard_normal((300, 400))
    expected = bits.integers(0, 1 << 32, 200_000, dtype="<u4")
    for dtype in (None, "source", np.float32):
        np.testing.assert_array_equal(vggq.load(mixed, dtype=dtype)["f32"].view("u4"), expected)


def test_bfloat16_by_its_name(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_same(vggq.load(packed, dtype="bfloat16"), vggq.load(packed, dtype=BFLOAT16))
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(errors.MissingDependencyError, match="dtype = 'bfloat16', which numpy has"):
        vggq.load(packed, dtype="bfloat16")


def test_without_ml_dtypes_the_way_out_is_named(
    mixed: Path, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(errors.MissingDependencyError) as caught:
        vggq.load(mixed, dtype="source")
    assert str(caught.value) == (
        "tensor 'bf16' is bfloat16, which numpy has from ml_dtypes, and that is not installed: "
        "pip install ml_dtypes"
    )
    assert vggq.load(packed, dtype="source")["half.weight"].dtype == np.float16


@pytest.mark.parametrize(
    ("dtype", "problem"),
    [
        ("flaot16", "is 'flaot16', expected float16, float32, float64, bfloat16 or 'source'"),
        (np.int32, "is int32, expected float16, float32, float64, bfloat16 or 'source'"),
        (bool, "is bool, expected"),
        ("i99,(", ""),
        ("3000000000000000000000f4", ""),
        (">f4", "is >f4, expected"),
        (ml_dtypes.float8_e5m2, "is float8_e5m2, expected"),
        ("surprise", "is 'surprise', expected float16,"),
    ],
)
def test_a_dtype_that_floating_point_is_not_restored_as(
    packed: Path, dtype: Any, problem: str
) -> None:
    with pytest.raises(errors.OptionError, match=r"^dtype: ") as caught:
        vggq.load(packed, dtype=dtype)
    assert problem in str(caught.value)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_float8_comes_from_ml_dtypes(name: str) -> None:
    stored = {"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2"}[name]
    tensor = TensorInfo("w", (256,), stored, "F32", 0, Codebook(256), 1.0, 0.0)
    dtype = _arguments.resolve_dtype("source")(tensor)
    assert dtype == np.dtype(getattr(ml_dtypes, name))
    every = np.arange(256, dtype=np.uint8)
    out = np.zeros(256, dtype)
    _dtypes.convert_into(every, stored, out)
    np.testing.assert_array_equal(out.view(np.uint8), every)
    codebook = np.linspace(-2, 2, 256, dtype=np.float32)
    Codebook(256).decode_into(codebook.tobytes() + every.tobytes(), out)
    np.testing.assert_array_equal(out.astype("f4"), codebook.astype(dtype).astype("f4"))


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("dtype", FLOATING, ids=str)
def test_every_width_of_codes(tmp_path: Path, bits: int, dtype: np.dtype[Any]) -> None:
    rng = np.random.default_rng(bits)
    arrays = {str(n): rng.standard_normal((n, 13)).astype("f4") for n in (77, 5041, 5042, 10_083)}
    target = pack(save_npz(tmp_path / "w.npz", arrays), tmp_path / "w.vggq", bits=bits).target
    expected = {name: array.astype(dtype) for name, array in vggq.load(target).items()}
    assert_same(vggq.load(target, dtype=dtype), expected)


@pytest.mark.parametrize("dtype", [None, np.float16, "source"])
def test_arrays_that_are_there_are_filled(mixed: Path, dtype: Any) -> None:
    expected = vggq.load(mixed, dtype=dtype)
    out = empty_like(expected)
    restored = vggq.load(mixed, dtype=dtype, out=out)
    assert all(restored[name] is array for name, array in out.items())
    assert_same(restored, expected)


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("dtype", [None, np.float16, np.float64, "source"])
def test_the_bits_do_not_depend_on_threads(
    mixed: Path, threads: int, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = vggq.load(mixed, dtype=dtype, threads=1)
    monkeypatch.setattr(_threads, "_LARGE", 0)
    assert_same(vggq.load(mixed, dtype=dtype, threads=threads), expected)
    monkeypatch.setattr(_load, "_MAX_KEPT", 0)
    out = empty_like(expected)
    assert_same(vggq.load(mixed, dtype=dtype, threads=threads, out=out), expected)


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


@pytest.mark.parametrize("made", [transposed, spaced, backward, unaligned])
@pytest.mark.parametrize("dtype", [None, "source"])
def test_arrays_of_any_strides(mixed: Path, made: Any, dtype: Any) -> None:
    expected = vggq.load(mixed, dtype=dtype)
    out = {name: made(array.shape, array.dtype) for name, array in expected.items()}
    vggq.load(mixed, dtype=dtype, out=out, threads=2)
    assert_same({name: out[name] for name in expected}, expected)


def test_what_lies_between_is_not_written_to(packed: Path) -> None:
    expected = vggq.load(packed)
    out = empty_like(expected)
    ground = np.full((80, 60), 5, np.float32)
    out["conv.weight"] = ground[::2, 1::2]
    vggq.load(packed, out=out)
    np.testing.assert_array_equal(ground[::2, 1::2], expected["conv.weight"])
    assert (ground[1::2] == 5).all()
    assert (ground[:, ::2] == 5).all()


def test_subclasses_of_arrays(tmp_path: Path, packed: Path) -> None:
    expected = vggq.load(packed)
    out = empty_like(expected)
    out["mask"] = np.memmap(tmp_path / "mask", bool, "w+", shape=(50, 30))
    out["conv.weight"] = np.ones((40, 30), np.float32).view(np.matrix)
    assert_same(vggq.load(packed, out=out), expected)


def test_everything_wrong_with_the_arrays_is_said_at_once(packed: Path) -> None:
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
        ("out['more']", "there is no such tensor"),
        ("out['conv.bias']", "is float64 of shape (40,), expected float32 of (40,)"),
        ("out['conv.weight']", "is float32 of shape (30, 40), expected float32 of (40, 30)"),
        ("out['half.weight']", "is read-only"),
        ("out['mask']", "is no array but list"),
        ("out['steps']", "is missing"),
    ]
    np.testing.assert_array_equal(out["half.weight"], before["half.weight"])


def test_a_byte_order_that_is_not_native_is_refused(packed: Path) -> None:
    out = empty_like(vggq.load(packed))
    out["conv.bias"] = out["conv.bias"].astype(">f4")
    with pytest.raises(errors.OptionError, match="is >f4 of shape"):
        vggq.load(packed, out=out)


@pytest.mark.parametrize("kept", [0, 1 << 20])
def test_damage_is_found_before_anything_is_written(
    packed: Path, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_load, "_MAX_KEPT", kept)
    out = empty_like(vggq.load(packed))
    data = bytearray(packed.read_bytes())
    data[-1] ^= 1
    with pytest.raises(errors.DataError, match="tensor 'steps': "):
        vggq.load(bytes(data), out=out)
    assert all((array == 1).all() for array in out.values())


@pytest.mark.parametrize(
    ("source", "dtype"), [("BF16", None), ("BF16", np.float64), ("F64", np.float16), ("F32", None)]
)
def test_nothing_of_the_size_of_the_result_is_taken_beside_it(
    tmp_path: Path, source: str, dtype: Any
) -> None:
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
