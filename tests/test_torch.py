"""`vggq.torch.load`: tensors of every dtype, on the CPU and on other devices."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from vggq import errors
from vggq._codecs import Codebook
from vggq._manifest import TensorInfo
from vggq.packing import pack

from .helpers import save_npz, save_safetensors
from .packed_models import expected_bytes, small_model

if TYPE_CHECKING:
    from pathlib import Path


torch = pytest.importorskip("torch")
import vggq.torch  # noqa: E402 - only if torch is installed
from vggq.torch import _codebook, _on_device, _torch_dtypes  # noqa: E402

from .torch_models import (  # noqa: E402
    Small,
    assert_same_tensors,
    on_cpu,
    pack_small,
    pack_state,
    tensors_of,
)

pytestmark = pytest.mark.torch


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Pack the state dict of a `Small` module."""
    return pack_small(tmp_path)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pack floating-point dtypes, quantized and exact, and others.

    Most tensors are large enough to be decoded in threads of their own.
    """
    folder = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(3)
    every = np.arange(1 << 18, dtype="<u4").astype("<u2").reshape(512, 512)
    weight = rng.standard_normal((520, 513)).astype("<f4")
    tensors = {
        "f16": ("F16", every),
        "f16.weight": ("F16", weight.astype("<f2")),
        "bf16": ("BF16", every),
        "bf16.weight": ("BF16", (weight.view("<u4") >> 16).astype("<u2")),
        "f32.weight": ("F32", weight),
        "f64": ("F64", np.array([1 / 3, 1e300, -0.0])),
        "i64": ("I64", np.array(7)),
        "u16": ("U16", np.arange(5, dtype="<u2")),
        "mask": ("BOOL", np.array([True, False])),
        "none": ("F32", np.zeros((0, 3), "<f4")),
    }
    source = save_safetensors(folder / "mixed.safetensors", tensors)
    return pack(source, folder / "mixed.vggq", keep=["f16", "bf16"]).target


@pytest.mark.parametrize("threads", [None, 1, 2, 8])
def test_tensors_equal_the_arrays_of_numpy(mixed: Path, threads: int | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensors = vggq.torch.load(mixed, threads=threads)
    assert_same_tensors(tensors, tensors_of(vggq.load(mixed)))


def test_tensors_own_their_memory(small: Path) -> None:
    first, second = vggq.torch.load(small), vggq.torch.load(small)
    kept = {name: tensor.clone() for name, tensor in first.items()}
    for tensor in second.values():
        tensor.zero_()
    assert_same_tensors(first, kept)
    small.write_bytes(b"")
    assert_same_tensors(first, kept)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, "source"])
def test_tensors_can_be_trained(small: Path, dtype: Any) -> None:
    weight = vggq.torch.load(small, dtype=dtype)["conv.weight"]
    assert weight.is_leaf
    assert not weight.requires_grad
    before = weight.clone()
    weight.requires_grad_()
    weight.square().sum().backward()
    torch.optim.SGD([weight], lr=0.1).step()
    assert not torch.equal(weight, before)


def saturated(tensor: Any, dtype: Any) -> Any:
    """Round float32 values to a dtype with torch; finite ones saturate.

    In dtypes without infinities, infinite values saturate as well.
    """
    limit = torch.finfo(dtype).max
    stays = tensor.isinf() & (dtype in {torch.float16, torch.bfloat16, torch.float8_e5m2})
    return torch.where(stays, tensor, tensor.clamp(-limit, limit)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_dtype_that_numpy_has(mixed: Path, dtype: Any) -> None:
    numpy_dtype = torch.empty(0, dtype=dtype).numpy().dtype
    expected = tensors_of(vggq.load(mixed, dtype=numpy_dtype))
    assert_same_tensors(vggq.torch.load(mixed, dtype=dtype), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_dtype_that_numpy_lacks(mixed: Path, dtype: Any) -> None:
    found = vggq.torch.load(mixed, dtype=dtype)
    for name, tensor in tensors_of(vggq.load(mixed)).items():
        expected = saturated(tensor, dtype) if tensor.is_floating_point() else tensor
        assert found[name].dtype == expected.dtype
        np.testing.assert_array_equal(found[name].double(), expected.double())


def test_source_restores_every_dtype_of_the_source(mixed: Path) -> None:
    found = vggq.torch.load(mixed, dtype="source")
    dtypes = {name: str(tensor.dtype)[6:] for name, tensor in found.items()}
    assert dtypes == {
        "bf16": "bfloat16",
        "bf16.weight": "bfloat16",
        "f16": "float16",
        "f16.weight": "float16",
        "f32.weight": "float32",
        "f64": "float64",
        "i64": "int64",
        "mask": "bool",
        "none": "float32",
        "u16": "uint16",
    }
    arrays = vggq.load(mixed, dtype="source")
    for name, tensor in found.items():
        assert (
            tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            == arrays[name].tobytes()
        )


@pytest.mark.parametrize(
    "dtype",
    [
        torch.int32,
        torch.complex64,
        torch.bool,
        "float32",
        np.float32,
        # Without a sign, and without arithmetic.
        *[
            getattr(torch, name)
            for name in ("float8_e8m0fnu", "float4_e2m1fn_x2")
            if hasattr(torch, name)
        ],
    ],
)
def test_unsupported_dtype_is_rejected(small: Path, dtype: Any) -> None:
    with pytest.raises(errors.OptionError, match="dtype: expected a floating-point dtype of torch"):
        vggq.torch.load(small, dtype=dtype)


def test_tied_tensors_are_one_tensor(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((40, 50)).astype(np.float32)
    path = pack_state(tmp_path, {"a": weight, "b": weight.copy(), "c": weight + 1})
    tensors = vggq.torch.load(path)
    assert tensors["a"] is tensors["b"]
    assert tensors["a"] is not tensors["c"]


# Restoring on other devices


@pytest.fixture
def as_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat the CPU like another device, on which numpy cannot decode."""
    monkeypatch.setattr(_on_device, "decodes_with_numpy", lambda _: False)


@pytest.mark.usefixtures("as_another_device")
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 7, 8])
def test_device_looks_up_the_same_bits(tmp_path: Path, bits: int) -> None:
    rng = np.random.default_rng(bits)
    state = {str(n): rng.standard_normal((n, 13)).astype("f4") for n in (77, 78, 79, 80, 5041)}
    path = pack_state(tmp_path, state, bits=bits)
    assert_same_tensors(vggq.torch.load(path), tensors_of(vggq.load(path)))


@pytest.mark.usefixtures("as_another_device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", ["rows", "columns", 2])
def test_device_multiplies_by_the_scales(tmp_path: Path, scale: str | int, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    state = {name: rng.standard_normal((9, 10, 13)).astype("f4") for name in "ab"}
    # Products beyond the range of float16, and subnormal numbers, which some devices round to 0.
    state["a"] *= np.exp2(np.arange(0, 26, 2, dtype="f4"))
    state["b"] *= np.float32(2.0**-128)
    path = pack_state(tmp_path, state, bits=4, scale=scale)
    found = vggq.torch.load(path, dtype=dtype)
    whole = vggq.load(path)
    for name, tensor in found.items():
        expected = _torch_dtypes.round_to(whole[name], dtype)
        assert_same_tensors({name: tensor}, {name: expected})


def test_device_does_not_multiply_subnormal_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).standard_normal((40, 30)).astype("f4")
    state = {"normal": values, "subnormal": values * np.float32(2.0**-128)}
    path = pack_state(tmp_path, state, bits=4, scale="rows")
    scaled = []
    split_scaled = _codebook.split_scaled

    def record(content: Any, codec: Any, count: int) -> Any:
        scaled.append(count)
        return split_scaled(content, codec, count)

    monkeypatch.setattr(_on_device, "decodes_with_numpy", lambda _: False)
    monkeypatch.setattr(_codebook, "split_scaled", record)
    assert_same_tensors(vggq.torch.load(path), tensors_of(vggq.load(path)))
    assert scaled == [values.size]


@pytest.mark.parametrize("chunk", [1, 100, 1000, 1001, 1 << 22])
@pytest.mark.parametrize("k", [2, 4, 16, 200])
def test_device_looks_up_codes_in_chunks(k: int, chunk: int) -> None:
    codec = Codebook(k)
    # Unless a code takes a whole byte, the last byte has room for one more.
    count = 1001 * 8 // codec.width - (codec.width < 8)
    rng = np.random.default_rng(k)
    centroids = rng.standard_normal(k).astype("<f4").tobytes()
    content = centroids + rng.integers(0, k, 1001, np.uint8).tobytes()
    assert len(content) == codec.content_size(count)
    expected = np.empty(count, np.float32)
    codec.decode_into(content, expected)
    tensor = TensorInfo("w", (count,), "F32", "F32", 0, codec, 0.0, 0.0)
    parts = _codebook.split_plain(content, codec, tensor, torch.float32)
    found = _codebook.restore(parts, on_cpu, chunk=chunk)
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("on_device", [False, True])
def test_tensors_of_a_model_have_the_values_of_its_files(
    request: pytest.FixtureRequest, *, on_device: bool
) -> None:
    model = small_model()
    data = model.build()
    expected = vggq.load(data)
    if on_device:
        request.getfixturevalue("as_another_device")
    assert_same_tensors(vggq.torch.load(data), tensors_of(expected))
    source = vggq.torch.load(data, dtype="source")
    for stored in model.tensors:
        found = source[stored.info.name].view(torch.uint8).numpy().tobytes()
        assert found == expected_bytes(stored), stored.info.name
    for dtype in (torch.float16, torch.bfloat16):
        for name, tensor in vggq.torch.load(data, dtype=dtype).items():
            if expected[name].dtype == np.float32:
                rounded = saturated(torch.from_numpy(expected[name]), dtype)
                assert torch.equal(tensor, rounded), name


@pytest.mark.usefixtures("as_another_device")
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_device_restores_every_dtype(mixed: Path, threads: int) -> None:
    expected = tensors_of(vggq.load(mixed))
    assert_same_tensors(vggq.torch.load(mixed, threads=threads), expected)
    halves = tensors_of(vggq.load(mixed, dtype=np.float16))
    assert_same_tensors(vggq.torch.load(mixed, dtype=torch.float16, threads=threads), halves)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_device_restores_dtypes_that_numpy_lacks(
    mixed: Path, dtype: Any, request: pytest.FixtureRequest
) -> None:
    expected = vggq.torch.load(mixed, dtype=dtype)
    request.getfixturevalue("as_another_device")
    for name, tensor in vggq.torch.load(mixed, dtype=dtype).items():
        assert tensor.dtype == expected[name].dtype
        np.testing.assert_array_equal(tensor.double(), expected[name].double())


@pytest.mark.usefixtures("as_another_device")
def test_failing_device_leaves_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(_on_device, "restore_tensor", fail)
    state = {str(n): np.full((600, 500), n, np.float32) for n in range(9)}
    target = pack(save_npz(tmp_path / "s.npz", state), tmp_path / "s.vggq").target
    before = set(threading.enumerate())
    # The error keeps the frames that refer to the threads.
    with pytest.raises(RuntimeError, match="out of memory") as caught:
        vggq.torch.load(target, device="cpu", threads=3)
    assert set(threading.enumerate()) == before
    assert caught.tb is not None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16, torch.float64, "source"])
def test_cuda_device(mixed: Path, small: Path, dtype: Any) -> None:
    found = vggq.torch.load(mixed, device="cuda", dtype=dtype)
    assert all(tensor.device == torch.device("cuda", 0) for tensor in found.values())
    on_cpu = vggq.torch.load(mixed, dtype=dtype)
    assert_same_tensors({name: tensor.cpu() for name, tensor in found.items()}, on_cpu)
    module, expected = Small().cuda(), Small()
    vggq.torch.load_into(module, small)
    vggq.torch.load_into(expected, small)
    assert_same_tensors(dict(module.cpu().state_dict()), dict(expected.state_dict()))


def test_unknown_device_is_an_error_of_torch(small: Path) -> None:
    with pytest.raises(RuntimeError, match="no_such_device"):
        vggq.torch.load(small, device="no_such_device")


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.float64])
def test_max_bytes_counts_the_restored_dtype(tmp_path: Path, dtype: Any) -> None:
    path = pack_state(tmp_path, {"weight": np.ones((50, 40), np.float32)})
    needed = 2000 * (dtype or torch.float32).itemsize
    assert vggq.torch.load(path, dtype=dtype, max_bytes=needed)["weight"].shape == (50, 40)
    with pytest.raises(errors.LimitError, match=f"max_bytes is {needed - 1}$"):
        vggq.torch.load(path, dtype=dtype, max_bytes=needed - 1)


def test_torch_is_imported_only_by_vggq_torch(small: Path) -> None:
    code = (
        f"import sys, vggq; vggq.load({str(small)!r}); assert not hasattr(vggq, 'torch'); "
        "assert 'torch' not in sys.modules; import vggq.torch; "
        f"assert sys.modules['torch'].is_tensor(vggq.torch.load({str(small)!r})['scale'])"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
