"""Tensors and modules of torch."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from vggq import _load, _threads, errors
from vggq.packing import pack

from .helpers import save_npz, save_safetensors

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

torch = pytest.importorskip("torch")
import vggq.torch  # noqa: E402 - without torch there is none

pytestmark = pytest.mark.torch

nn: Any = torch.nn


class Small(nn.Module):  # type: ignore[misc]
    """A module with parameters, buffers of both kinds, and a batch norm's counter."""

    def __init__(self, width: int = 40) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 5)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 30)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("scratch", torch.ones(7), persistent=False)

    def forward(self, images: Any) -> Any:
        return self.head(self.norm(self.conv(images)).mean((2, 3))) * self.scale


def arrays_of(module: Any) -> dict[str, NDArray[Any]]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def packed_from(
    folder: Path, state: dict[str, NDArray[Any]], name: str = "w", **options: Any
) -> Path:
    return pack(save_npz(folder / f"{name}.npz", state), folder / f"{name}.vggq", **options).target


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A module's state dict, packed."""
    torch.manual_seed(1)
    module = Small()
    module.norm.num_batches_tracked += 9
    module.scale += 1
    return packed_from(tmp_path, arrays_of(module))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every floating dtype that there is, quantized and exact, and others."""
    folder = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(3)
    every = np.arange(1 << 16, dtype="<u2").reshape(256, 256)
    weight = rng.standard_normal((60, 41)).astype("<f4")
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


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """The same names, shapes and dtypes, and the same bits but for those of NaN."""
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        torch.testing.assert_close(
            found[name], tensor, rtol=0, atol=0, equal_nan=True, check_device=False
        )


def tensors_of(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def values_of(module: Any) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


# Loading tensors


@pytest.mark.parametrize("threads", [None, 1, 2, 8])
def test_tensors_are_the_arrays(
    mixed: Path, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_threads, "_LARGE", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensors = vggq.torch.load(mixed, threads=threads)
    assert_same(tensors, tensors_of(vggq.load(mixed)))


def test_tensors_own_their_memory(small: Path) -> None:
    first, second = vggq.torch.load(small), vggq.torch.load(small)
    kept = {name: tensor.clone() for name, tensor in first.items()}
    for tensor in second.values():
        tensor.zero_()
    assert_same(first, kept)
    small.write_bytes(b"")
    assert_same(first, kept)


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


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_dtypes_that_numpy_has(mixed: Path, dtype: Any) -> None:
    numpy_dtype = torch.empty(0, dtype=dtype).numpy().dtype
    expected = tensors_of(vggq.load(mixed, dtype=numpy_dtype))
    assert_same(vggq.torch.load(mixed, dtype=dtype), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_dtypes_that_numpy_lacks(mixed: Path, dtype: Any) -> None:
    found = vggq.torch.load(mixed, dtype=dtype)
    for name, tensor in tensors_of(vggq.load(mixed)).items():
        expected = tensor.to(dtype) if tensor.is_floating_point() else tensor
        assert found[name].dtype == expected.dtype
        np.testing.assert_array_equal(found[name].double(), expected.double())


def test_the_dtypes_of_the_source(mixed: Path) -> None:
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


@pytest.mark.parametrize("dtype", [torch.int32, torch.complex64, torch.bool, "float32", np.float32])
def test_a_dtype_that_floating_point_is_not_restored_as(small: Path, dtype: Any) -> None:
    with pytest.raises(errors.OptionError, match="expected a floating-point dtype of torch or"):
        vggq.torch.load(small, dtype=dtype)


def test_tied_tensors_are_one(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((40, 50)).astype(np.float32)
    path = packed_from(tmp_path, {"a": weight, "b": weight.copy(), "c": weight + 1})
    tensors = vggq.torch.load(path)
    assert tensors["a"] is tensors["b"]
    assert tensors["a"] is not tensors["c"]


# Looking up on the device


@pytest.fixture
def on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be decoded on the way: the CPU does what another device would."""
    from vggq.torch import _tensor as _torch_tensor  # noqa: PLC0415

    monkeypatch.setattr(_torch_tensor, "decodes_here", lambda _: False)


@pytest.mark.usefixtures("on_the_device")
@pytest.mark.parametrize("piece", [1 << 22, 1000])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 7, 8])
def test_looking_up_on_the_device_gives_the_same_bits(
    tmp_path: Path, bits: int, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vggq.torch import _tensor as _torch_tensor  # noqa: PLC0415

    monkeypatch.setattr(_torch_tensor, "_PIECE", piece)
    rng = np.random.default_rng(bits)
    state = {str(n): rng.standard_normal((n, 13)).astype("f4") for n in (77, 78, 79, 80, 5041)}
    path = packed_from(tmp_path, state, bits=bits)
    assert_same(vggq.torch.load(path), tensors_of(vggq.load(path)))


@pytest.mark.usefixtures("on_the_device")
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_the_device_gets_every_dtype(mixed: Path, threads: int) -> None:
    expected = tensors_of(vggq.load(mixed))
    assert_same(vggq.torch.load(mixed, threads=threads), expected)
    halves = tensors_of(vggq.load(mixed, dtype=np.float16))
    assert_same(vggq.torch.load(mixed, dtype=torch.float16, threads=threads), halves)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_the_device_gets_dtypes_that_numpy_lacks(
    mixed: Path, dtype: Any, request: pytest.FixtureRequest
) -> None:
    expected = vggq.torch.load(mixed, dtype=dtype)
    request.getfixturevalue("on_the_device")
    for name, tensor in vggq.torch.load(mixed, dtype=dtype).items():
        assert tensor.dtype == expected[name].dtype
        np.testing.assert_array_equal(tensor.double(), expected[name].double())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16, torch.float64, "source"])
def test_a_cuda_device(mixed: Path, small: Path, dtype: Any) -> None:
    found = vggq.torch.load(mixed, device="cuda", dtype=dtype)
    assert all(tensor.device == torch.device("cuda", 0) for tensor in found.values())
    on_cpu = vggq.torch.load(mixed, dtype=dtype)
    assert_same({name: tensor.cpu() for name, tensor in found.items()}, on_cpu)
    module, expected = Small().cuda(), Small()
    vggq.torch.load_into(module, small)
    vggq.torch.load_into(expected, small)
    assert_same(dict(module.cpu().state_dict()), dict(expected.state_dict()))


def test_a_device_that_is_not_there(small: Path) -> None:
    with pytest.raises(RuntimeError, match="no_such_device"):
        vggq.torch.load(small, device="no_such_device")


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.float64])
def test_the_most_that_the_caller_allows(tmp_path: Path, dtype: Any) -> None:
    path = packed_from(tmp_path, {"weight": np.ones((50, 40), np.float32)})
    most = 2000 * (dtype or torch.float32).itemsize
    assert vggq.torch.load(path, dtype=dtype, max_bytes=most)["weight"].shape == (50, 40)
    with pytest.raises(errors.LimitError, match=f"more than max_bytes, {most - 1}"):
        vggq.torch.load(path, dtype=dtype, max_bytes=most - 1)
    module = nn.Linear(40, 50, bias=False)
    vggq.torch.load_into(module, path, max_bytes=8000)
    with pytest.raises(errors.LimitError, match="more than max_bytes, 7999"):
        vggq.torch.load_into(module, path, max_bytes=7999)


# Filling a module


@pytest.mark.parametrize("threads", [None, 1, 2, 8])
def test_a_module_is_filled_where_it_is(
    small: Path, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_threads, "_LARGE", 0)
    module, expected = Small(), Small()
    places = {name: tensor.data_ptr() for name, tensor in module.state_dict().items()}
    keys = vggq.torch.load_into(module, small, threads=threads)
    assert keys == expected.load_state_dict(vggq.torch.load(small))
    assert (keys.missing_keys, keys.unexpected_keys) == ([], [])
    assert str(keys) == "<All keys matched successfully>"
    assert_same(dict(module.state_dict()), dict(expected.state_dict()))
    assert {name: tensor.data_ptr() for name, tensor in module.state_dict().items()} == places
    assert module.norm.num_batches_tracked == 9
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert (module.scratch == 1).all()


def test_a_filled_module_trains(small: Path) -> None:
    module = Small()
    vggq.torch.load_into(module, small)
    before = values_of(module)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    loss = module(torch.rand(2, 3, 8, 8)).square().mean()
    loss.backward()
    optimizer.step()
    for name, parameter in module.named_parameters():
        if name != "conv.bias":
            assert not torch.equal(parameter, before[name]), name
    fresh = Small()
    vggq.torch.load_into(fresh, small)
    assert_same(dict(fresh.state_dict()), before)


def test_autograd_sees_that_values_have_changed(small: Path) -> None:
    module = Small()
    loss = module.head.weight.square().sum()
    vggq.torch.load_into(module, small)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_module_of_another_dtype_and_layout(small: Path, dtype: Any, memory_format: Any) -> None:
    module, expected = (Small().to(dtype).to(memory_format=memory_format) for _ in range(2))
    strides = module.conv.weight.stride()
    vggq.torch.load_into(module, small)
    expected.load_state_dict(vggq.torch.load(small))
    assert_same(dict(module.state_dict()), dict(expected.state_dict()))
    assert module.conv.weight.stride() == strides


@pytest.mark.parametrize("dtype", [torch.int32, torch.float64, torch.bool])
def test_copies_that_change_the_kind(mixed: Path, dtype: Any) -> None:
    modules = []
    for _ in range(2):
        module = nn.Module()
        module.register_buffer("i64", torch.zeros((), dtype=dtype))
        module.register_buffer("mask", torch.zeros(2, dtype=dtype))
        module.register_buffer("f64", torch.zeros(3, dtype=dtype))
        modules.append(module)
    vggq.torch.load_into(modules[0], mixed, strict=False)
    # float64 stays what it is, with nothing lost on the way.
    state = vggq.torch.load(mixed, dtype=torch.float64 if dtype == torch.float64 else None)
    modules[1].load_state_dict(state, strict=False)
    assert_same(dict(modules[0].state_dict()), dict(modules[1].state_dict()))


def errors_of(small: Path, module: Any, **options: Any) -> tuple[str, str]:
    """What `load_into` and `load_state_dict` raise; `load_into` is to change nothing."""
    before = values_of(module)
    identities = [id(parameter) for parameter in module.parameters()]
    with pytest.raises(RuntimeError) as ours:
        vggq.torch.load_into(module, small, **options)
    assert_same(dict(module.state_dict()), before)
    assert [id(parameter) for parameter in module.parameters()] == identities
    with pytest.raises(RuntimeError) as theirs:
        module.load_state_dict(vggq.torch.load(small), **options)
    return str(ours.value), str(theirs.value)


class Other(Small):
    """One with more, with less and with other shapes."""

    def __init__(self) -> None:
        super().__init__(width=41)
        del self.norm, self.scale
        self.tail = nn.Linear(2, 2)
        self.register_buffer("more", torch.zeros(2))


class Hooked(Other):
    """One that loads in a way of its own."""

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)


@pytest.mark.parametrize("kind", [Other, Hooked])
@pytest.mark.parametrize("assign", [False, True])
def test_errors_are_those_of_load_state_dict(small: Path, kind: Any, *, assign: bool) -> None:
    ours, theirs = errors_of(small, kind(), assign=assign)
    assert ours == theirs
    for part in (
        'Missing key(s) in state_dict: "more", "tail.weight", "tail.bias". ',
        'Unexpected key(s) in state_dict: "norm.bias", "norm.',
        "size mismatch for conv.weight: copying a param with shape torch.Size([40, 3, 5, 5])",
    ):
        assert part in ours


def test_shapes_have_to_agree_even_if_names_need_not(small: Path) -> None:
    ours, theirs = errors_of(small, Other(), strict=False)
    assert ours == theirs
    assert "Missing" not in ours


def test_missing_and_unexpected_names_are_returned(tmp_path: Path) -> None:
    module, expected = Small(), Small()
    state = arrays_of(Small())
    state["a.stray"] = state.pop("head.bias")
    state["conv.more"] = np.arange(3.0)
    path = packed_from(tmp_path, state)
    keys = vggq.torch.load_into(module, path, strict=False)
    assert keys == expected.load_state_dict(vggq.torch.load(path), strict=False)
    assert keys.missing_keys == ["head.bias"]
    assert sorted(keys.unexpected_keys) == ["a.stray", "conv.more"]
    assert keys._fields == ("missing_keys", "unexpected_keys")
    torch.testing.assert_close(module.conv.weight, expected.conv.weight, rtol=0, atol=0)


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("kept", [0, 1 << 20])
def test_damage_changes_nothing(
    small: Path, *, assign: bool, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_load, "_MAX_KEPT", kept)
    data = bytearray(small.read_bytes())
    data[-1] ^= 1
    module = Small()
    before = values_of(module)
    with pytest.raises(errors.DataError, match="tensor 'scale': "):
        vggq.torch.load_into(module, bytes(data), assign=assign)
    assert_same(dict(module.state_dict()), before)


def test_a_module_on_the_meta_device(small: Path) -> None:
    with torch.device("meta"):
        module = Small()
    module.conv.weight.requires_grad_(requires_grad=False)
    with pytest.raises(errors.OptionError, match=r"assign: is False, and 'conv\.weight' is on the"):
        vggq.torch.load_into(module, small)
    keys = vggq.torch.load_into(module, small, assign=True)
    assert (keys.missing_keys, keys.unexpected_keys) == ([], [])
    assert_same(
        dict(module.state_dict()), {n: vggq.torch.load(small)[n] for n in module.state_dict()}
    )
    asking = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert asking == {"conv.bias", "norm.weight", "norm.bias", "head.weight", "head.bias"}
    assert all(isinstance(parameter, nn.Parameter) for parameter in module.parameters())
    assert module.scratch.is_meta
    module.scratch = torch.ones(7)
    module(torch.rand(2, 3, 8, 8)).sum().backward()
    assert module.conv.weight.grad is None
    assert module.head.weight.grad is not None


def test_assigning_puts_fresh_tensors_in_place(small: Path) -> None:
    module = Small().double()
    old = module.head.weight
    vggq.torch.load_into(module, small, assign=True)
    assert module.head.weight is not old
    assert module.head.weight.dtype == torch.float32


class Tied(nn.Module):  # type: ignore[misc]
    """A decoder that is its encoder's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(40, 50, bias=False)
        self.second = nn.Linear(40, 50, bias=False)
        self.second.weight = self.first.weight


@pytest.mark.parametrize("difference", [0, 1])
@pytest.mark.parametrize("by_data", [False, True])
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_tied_parameters(tmp_path: Path, difference: int, *, by_data: bool, threads: int) -> None:
    """Where the file has two tensors for one parameter, the last counts, as in torch."""
    weight = np.random.default_rng(0).standard_normal((50, 40)).astype(np.float32)
    path = packed_from(tmp_path, {"first.weight": weight, "second.weight": weight + difference})
    module, expected = Tied(), Tied()
    if by_data:
        module.second.weight = nn.Parameter(torch.zeros(50, 40))
        module.second.weight.data = module.first.weight.data
    vggq.torch.load_into(module, path, threads=threads)
    expected.load_state_dict(vggq.torch.load(path))
    assert_same(dict(module.state_dict()), dict(expected.state_dict()))
    assert module.second.weight.data_ptr() == module.first.weight.data_ptr()


def test_tensors_without_elements(tmp_path: Path) -> None:
    weight = np.ones((50, 40), np.float32)
    path = packed_from(tmp_path, {"weight": weight, "a": np.empty((0, 3)), "b": np.empty(0)})
    module = nn.Linear(40, 50, bias=False)
    module.register_buffer("a", torch.empty(0, 3))
    module.register_buffer("b", torch.empty(0))
    vggq.torch.load_into(module, path)
    np.testing.assert_array_equal(module.weight.detach().numpy(), weight)
    assert (module.a.shape, module.b.shape) == ((0, 3), (0,))


def test_a_batch_norm_that_was_saved_without_its_counter(tmp_path: Path) -> None:
    state = arrays_of(Small())
    del state["norm.num_batches_tracked"]
    path = packed_from(tmp_path, state)
    module = Small()
    module.norm.num_batches_tracked += 4
    assert vggq.torch.load_into(module, path).missing_keys == []
    assert module.norm.num_batches_tracked == 4


def test_a_number_that_was_saved_as_a_list_of_one(tmp_path: Path) -> None:
    state = arrays_of(Small())
    state["scale"] = np.array([5], np.float32)
    module = Small()
    vggq.torch.load_into(module, packed_from(tmp_path, state))
    assert module.scale == 5
    assert module.scale.shape == ()


def test_hooks_see_the_values(small: Path) -> None:
    module, expected = Small(), Small()
    seen = []

    def double(state: dict[str, Any], prefix: str, *_: Any) -> None:
        state[prefix + "weight"] = state[prefix + "weight"] * 2

    module.head._register_load_state_dict_pre_hook(double)
    module.register_load_state_dict_post_hook(lambda m, _: seen.append(m.conv.weight.sum().item()))
    vggq.torch.load_into(module, small)
    vggq.torch.load_into(expected, small)
    assert torch.equal(module.head.weight, expected.head.weight * 2)
    assert seen == [expected.conv.weight.sum().item()]


def test_a_lazy_module(tmp_path: Path) -> None:
    path = packed_from(tmp_path, arrays_of(nn.Linear(40, 30)))
    module = nn.LazyLinear(30)
    vggq.torch.load_into(module, path)
    torch.testing.assert_close(module.weight, vggq.torch.load(path)["weight"], rtol=0, atol=0)


def test_swapping_tensors(small: Path) -> None:
    module, expected = Small(), Small()
    vggq.torch.load_into(expected, small)
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        vggq.torch.load_into(module, small)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    assert_same(dict(module.state_dict()), dict(expected.state_dict()))


def test_inference_mode(small: Path) -> None:
    with torch.inference_mode():
        module, expected = Small(), Small()
        vggq.torch.load_into(module, small)
        expected.load_state_dict(vggq.torch.load(small))
        assert_same(dict(module.state_dict()), dict(expected.state_dict()))


def test_no_second_copy_is_made(tmp_path: Path) -> None:
    """Codes are held, and no floats: numpy's memory is traced, and decoding takes no other."""
    import tracemalloc  # noqa: PLC0415

    weight = np.random.default_rng(0).standard_normal((1000, 2000)).astype(np.float32)
    path = packed_from(tmp_path, {"weight": weight, "bias": np.zeros(1000, np.float32)})
    module = nn.Linear(2000, 1000)
    vggq.torch.load_into(module, path)
    tracemalloc.start()
    try:
        vggq.torch.load_into(module, path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.6 * weight.nbytes


def test_importing_vggq_imports_no_torch(small: Path) -> None:
    code = (
        f"import sys, vggq; vggq.load({str(small)!r}); assert not hasattr(vggq, 'torch'); "
        "assert 'torch' not in sys.modules; import vggq.torch; "
        f"assert sys.modules['torch'].is_tensor(vggq.torch.load({str(small)!r})['scale'])"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
