"""`vggq.torch.load_into`, compared with `load_state_dict`."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from vggq import errors

if TYPE_CHECKING:
    from pathlib import Path


torch = pytest.importorskip("torch")
import vggq.torch  # noqa: E402 - only if torch is installed

from .torch_models import (  # noqa: E402
    Small,
    arrays_of,
    assert_same_tensors,
    nn,
    pack_small,
    pack_state,
    values_of,
)

pytestmark = pytest.mark.torch


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Pack the state dict of a `Small` module."""
    return pack_small(tmp_path)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pack a module with two tensors that are large enough for threads of their own."""
    torch.manual_seed(2)
    return pack_state(tmp_path_factory.mktemp("large"), arrays_of(Small(4000, 70)))


@pytest.mark.parametrize("threads", [None, 1, 2, 8])
def test_large_tensors_are_decoded_into_the_module(large: Path, threads: int | None) -> None:
    module, expected = Small(4000, 70), Small(4000, 70)
    vggq.torch.load_into(module, large, threads=threads)
    expected.load_state_dict(vggq.torch.load(large))
    assert_same_tensors(dict(module.state_dict()), dict(expected.state_dict()))


def test_module_is_filled_in_its_own_memory(small: Path) -> None:
    module, expected = Small(), Small()
    addresses = {name: tensor.data_ptr() for name, tensor in module.state_dict().items()}
    keys = vggq.torch.load_into(module, small)
    assert keys == expected.load_state_dict(vggq.torch.load(small))
    assert (keys.missing_keys, keys.unexpected_keys) == ([], [])
    assert str(keys) == "<All keys matched successfully>"
    assert_same_tensors(dict(module.state_dict()), dict(expected.state_dict()))
    assert {name: tensor.data_ptr() for name, tensor in module.state_dict().items()} == addresses
    assert module.norm.num_batches_tracked == 9
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert (module.scratch == 1).all()


def test_max_bytes_counts_float32(tmp_path: Path) -> None:
    path = pack_state(tmp_path, {"weight": np.ones((50, 40), np.float32)})
    module = nn.Linear(40, 50, bias=False)
    vggq.torch.load_into(module, path, max_bytes=8000)
    with pytest.raises(errors.LimitError, match="max_bytes is 7999"):
        vggq.torch.load_into(module, path, max_bytes=7999)


def test_filled_module_can_be_trained(small: Path) -> None:
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
    assert_same_tensors(dict(fresh.state_dict()), before)


def test_autograd_detects_the_changed_values(small: Path) -> None:
    module = Small()
    loss = module.head.weight.square().sum()
    vggq.torch.load_into(module, small)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_module_keeps_its_dtype_and_layout(small: Path, dtype: Any, memory_format: Any) -> None:
    module, expected = (Small().to(dtype).to(memory_format=memory_format) for _ in range(2))
    strides = module.conv.weight.stride()
    vggq.torch.load_into(module, small)
    expected.load_state_dict(vggq.torch.load(small))
    assert_same_tensors(dict(module.state_dict()), dict(expected.state_dict()))
    assert module.conv.weight.stride() == strides


@pytest.mark.parametrize("dtype", [torch.int32, torch.float64, torch.bool])
def test_buffers_of_another_kind_of_dtype(tmp_path: Path, dtype: Any) -> None:
    state = {
        "f64": np.array([1 / 3, 1e300, -0.0]),
        "i64": np.array(7),
        "mask": np.array([True, False]),
    }
    path = pack_state(tmp_path, state)
    modules = []
    for _ in range(2):
        module = nn.Module()
        module.register_buffer("i64", torch.zeros((), dtype=dtype))
        module.register_buffer("mask", torch.zeros(2, dtype=dtype))
        module.register_buffer("f64", torch.zeros(3, dtype=dtype))
        modules.append(module)
    vggq.torch.load_into(modules[0], path, strict=False)
    # float64 is copied to float64 without going through float32.
    state = vggq.torch.load(path, dtype=torch.float64 if dtype == torch.float64 else None)
    modules[1].load_state_dict(state, strict=False)
    assert_same_tensors(dict(modules[0].state_dict()), dict(modules[1].state_dict()))


def errors_of(small: Path, module: Any, **options: Any) -> tuple[str, str]:
    """Return the messages of `load_into`, which must not change the module, and of torch."""
    before = values_of(module)
    identities = [id(parameter) for parameter in module.parameters()]
    with pytest.raises(RuntimeError) as ours:
        vggq.torch.load_into(module, small, **options)
    assert_same_tensors(dict(module.state_dict()), before)
    assert [id(parameter) for parameter in module.parameters()] == identities
    with pytest.raises(RuntimeError) as theirs:
        module.load_state_dict(vggq.torch.load(small), **options)
    return str(ours.value), str(theirs.value)


class Other(Small):
    """A module with missing, additional and differently shaped tensors."""

    def __init__(self) -> None:
        super().__init__(width=41)
        del self.norm, self.scale
        self.tail = nn.Linear(2, 2)
        self.register_buffer("more", torch.zeros(2))


class Overriding(Other):
    """A module with a loading method of its own."""

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)


@pytest.mark.parametrize("kind", [Other, Overriding])
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


def test_shapes_have_to_match_even_if_not_strict(small: Path) -> None:
    ours, theirs = errors_of(small, Other(), strict=False)
    assert ours == theirs
    assert "Missing" not in ours


def test_missing_and_unexpected_keys_are_returned(tmp_path: Path) -> None:
    module, expected = Small(), Small()
    state = arrays_of(Small())
    state["a.stray"] = state.pop("head.bias")
    state["conv.more"] = np.arange(3.0)
    path = pack_state(tmp_path, state)
    keys = vggq.torch.load_into(module, path, strict=False)
    assert keys == expected.load_state_dict(vggq.torch.load(path), strict=False)
    assert keys.missing_keys == ["head.bias"]
    assert sorted(keys.unexpected_keys) == ["a.stray", "conv.more"]
    assert keys._fields == ("missing_keys", "unexpected_keys")
    torch.testing.assert_close(module.conv.weight, expected.conv.weight, rtol=0, atol=0)


class WithPositions(Small):
    """A module with a raw tensor that is so large that it is not kept, but read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("positions", torch.arange(200_000))


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("kind", [Small, WithPositions])
def test_damaged_file_leaves_the_module_unchanged(
    tmp_path: Path, kind: Any, *, assign: bool
) -> None:
    path = pack_state(tmp_path, arrays_of(kind()))
    module = kind()
    vggq.torch.load_into(module, path, assign=assign)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    before = values_of(module)
    with pytest.raises(errors.DataError, match="tensor 'scale': "):
        vggq.torch.load_into(module, bytes(data), assign=assign)
    assert_same_tensors(dict(module.state_dict()), before)


def test_module_on_the_meta_device(small: Path) -> None:
    with torch.device("meta"):
        module = Small()
    module.conv.weight.requires_grad_(requires_grad=False)
    with pytest.raises(errors.OptionError, match=r"assign: expected True, because 'conv\.weight'"):
        vggq.torch.load_into(module, small)
    keys = vggq.torch.load_into(module, small, assign=True)
    assert (keys.missing_keys, keys.unexpected_keys) == ([], [])
    assert_same_tensors(
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


def test_assign_replaces_the_tensors(small: Path) -> None:
    module = Small().double()
    old = module.head.weight
    vggq.torch.load_into(module, small, assign=True)
    assert module.head.weight is not old
    assert module.head.weight.dtype == torch.float32


class Tied(nn.Module):  # type: ignore[misc]
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(40, 50, bias=False)
        self.second = nn.Linear(40, 50, bias=False)
        self.second.weight = self.first.weight


@pytest.mark.parametrize("difference", [0, 1])
@pytest.mark.parametrize("by_data", [False, True])
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_tied_parameters(tmp_path: Path, difference: int, *, by_data: bool, threads: int) -> None:
    """If the file has two tensors for one parameter, the last one counts, as in torch."""
    weight = np.random.default_rng(0).standard_normal((50, 40)).astype(np.float32)
    path = pack_state(tmp_path, {"first.weight": weight, "second.weight": weight + difference})
    module, expected = Tied(), Tied()
    if by_data:
        module.second.weight = nn.Parameter(torch.zeros(50, 40))
        module.second.weight.data = module.first.weight.data
    vggq.torch.load_into(module, path, threads=threads)
    expected.load_state_dict(vggq.torch.load(path))
    assert_same_tensors(dict(module.state_dict()), dict(expected.state_dict()))
    assert module.second.weight.data_ptr() == module.first.weight.data_ptr()


def test_tensors_without_elements(tmp_path: Path) -> None:
    weight = np.ones((50, 40), np.float32)
    path = pack_state(tmp_path, {"weight": weight, "a": np.empty((0, 3)), "b": np.empty(0)})
    module = nn.Linear(40, 50, bias=False)
    module.register_buffer("a", torch.empty(0, 3))
    module.register_buffer("b", torch.empty(0))
    vggq.torch.load_into(module, path)
    np.testing.assert_array_equal(module.weight.detach().numpy(), weight)
    assert (module.a.shape, module.b.shape) == ((0, 3), (0,))


def test_batch_norm_saved_without_its_counter(tmp_path: Path) -> None:
    state = arrays_of(Small())
    del state["norm.num_batches_tracked"]
    path = pack_state(tmp_path, state)
    module = Small()
    module.norm.num_batches_tracked += 4
    assert vggq.torch.load_into(module, path).missing_keys == []
    assert module.norm.num_batches_tracked == 4


def test_scalar_saved_with_shape_1(tmp_path: Path) -> None:
    state = arrays_of(Small())
    state["scale"] = np.array([5], np.float32)
    module = Small()
    vggq.torch.load_into(module, pack_state(tmp_path, state))
    assert module.scale == 5
    assert module.scale.shape == ()


def test_hooks_receive_the_values(small: Path) -> None:
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


def test_lazy_module(tmp_path: Path) -> None:
    path = pack_state(tmp_path, arrays_of(nn.Linear(40, 30)))
    module = nn.LazyLinear(30)
    vggq.torch.load_into(module, path)
    torch.testing.assert_close(module.weight, vggq.torch.load(path)["weight"], rtol=0, atol=0)


def test_module_in_swap_mode(small: Path) -> None:
    module, expected = Small(), Small()
    vggq.torch.load_into(expected, small)
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        vggq.torch.load_into(module, small)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    assert_same_tensors(dict(module.state_dict()), dict(expected.state_dict()))


def test_module_in_inference_mode(small: Path) -> None:
    with torch.inference_mode():
        module, expected = Small(), Small()
        vggq.torch.load_into(module, small)
        expected.load_state_dict(vggq.torch.load(small))
        assert_same_tensors(dict(module.state_dict()), dict(expected.state_dict()))


def test_weights_are_decoded_without_a_second_copy(tmp_path: Path) -> None:
    """Only codes are kept; numpy's memory is traced, and decoding uses no other."""
    weight = np.random.default_rng(0).standard_normal((1000, 2000)).astype(np.float32)
    path = pack_state(tmp_path, {"weight": weight, "bias": np.zeros(1000, np.float32)})
    module = nn.Linear(2000, 1000)
    vggq.torch.load_into(module, path)
    tracemalloc.start()
    try:
        vggq.torch.load_into(module, path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.6 * weight.nbytes
