"""Rounding of torch tensors to narrower dtypes, by every codec, in tensors and in modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

import vggq
from vggq.packing import pack

from .helpers import saturated, save_safetensors

if TYPE_CHECKING:
    from pathlib import Path


torch = pytest.importorskip("torch")
import vggq.torch  # noqa: E402 - only if torch is installed
from vggq.torch import _on_device  # noqa: E402

from .torch_models import nn, pack_state, tensors_of  # noqa: E402

pytestmark = pytest.mark.torch

# The dtypes that ml_dtypes has as well.
DTYPES = {
    torch.float16: np.float16,
    torch.bfloat16: ml_dtypes.bfloat16,
    torch.float8_e4m3fn: ml_dtypes.float8_e4m3fn,
    torch.float8_e5m2: ml_dtypes.float8_e5m2,
}
GOALS: list[dict[str, Any]] = [{"keep": ["*"]}, {"bits": 8}, {"bits": 3}, {"sqnr": 30}]


@pytest.fixture(scope="module", params=GOALS, ids=str)
def extreme(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pack weights of every magnitude, in each floating-point dtype of a source."""
    folder = tmp_path_factory.mktemp("extreme")
    rng = np.random.default_rng(0)
    spread = np.exp2(rng.uniform(-9, 9, (120, 1))) * 1e3
    weights = (rng.standard_normal((120, 150)) * spread).astype("<f4")
    tensors = {
        "half": ("F16", saturated(weights, np.dtype("f2")).view("<u2")),
        "brain": ("BF16", saturated(weights, np.dtype(ml_dtypes.bfloat16)).view("<u2")),
        "single": ("F32", weights * np.float32(1e20)),
        "double": ("F64", weights.astype("<f8") * 2.0**100),
    }
    assert np.isfinite(tensors["half"][1].view("f2")).all()
    source = save_safetensors(folder / "s.safetensors", tensors)
    return pack(source, folder / "s.vggq", **request.param).target


@pytest.fixture(params=[False, True], ids=["cpu", "another device"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let numpy decode, or treat the CPU like a device on which it cannot."""
    if request.param:
        monkeypatch.setattr(_on_device, "decodes_with_numpy", lambda _: False)


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_finite_weights_of_every_codec_saturate(extreme: Path, dtype: Any) -> None:
    expected = {
        name: saturated(array, np.dtype(DTYPES[dtype]))
        for name, array in vggq.load(extreme).items()
    }
    for name, tensor in vggq.torch.load(extreme, dtype=dtype).items():
        assert tensor.dtype == dtype
        np.testing.assert_array_equal(tensor.double(), expected[name].astype("f8"))
        assert tensor.double().isfinite().all()


@pytest.mark.usefixtures("device")
def test_source_dtype_of_every_codec(extreme: Path) -> None:
    arrays = vggq.load(extreme, dtype="source")
    found = vggq.torch.load(extreme, dtype="source")
    assert {name: str(tensor.dtype) for name, tensor in found.items()} == {
        "half": "torch.float16",
        "brain": "torch.bfloat16",
        "single": "torch.float32",
        "double": "torch.float64",
    }
    for name, tensor in found.items():
        assert tensor.view(torch.uint8).numpy().tobytes() == arrays[name].tobytes()


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_float16_is_rounded_like_ml_dtypes(tmp_path: Path, dtype: Any) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(256, 256)
    path = pack_state(tmp_path, {"w": every}, keep=["*"])
    found = vggq.torch.load(path, dtype=dtype)["w"].double().numpy()
    with np.errstate(invalid="ignore"):
        expected = saturated(every, np.dtype(DTYPES[dtype])).astype("f8")
    np.testing.assert_array_equal(found, expected)
    is_number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found)[is_number], np.signbit(expected)[is_number])


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("name", ["float8_e4m3fnuz", "float8_e5m2fnuz"])
def test_dtypes_without_infinities_saturate(tmp_path: Path, name: str) -> None:
    dtype = getattr(torch, name)
    values = np.array([1.0, -1e9, 1e9, np.inf, -np.inf, np.nan, 0.5])
    path = pack_state(tmp_path, {"w": values, "scalar": np.array(1e300)})
    found = vggq.torch.load(path, dtype=dtype)
    limit = torch.finfo(dtype).max
    expected = [1, -limit, limit, limit, -limit, np.nan, 0.5]
    np.testing.assert_array_equal(found["w"].double(), expected)
    assert found["scalar"].double() == limit


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize(
    ("dtype", "expected"), [(torch.bfloat16, 1 + 2**-7), (torch.float8_e4m3fn, 1.0)]
)
def test_float64_is_rounded_once(tmp_path: Path, dtype: Any, expected: float) -> None:
    """torch rounds float64 by way of float32, and so 1 + 2^-8 + 2^-40 down to 1."""
    value = np.array([1 + 2**-8 + 2**-40])
    path = pack_state(tmp_path, {"w": value})
    assert torch.from_numpy(value).to(dtype).double().item() == 1
    assert vggq.torch.load(path, dtype=dtype)["w"].double().item() == expected


class Masked(nn.Module):  # type: ignore[misc]
    """A module whose buffer is the mask of a causal attention."""

    def __init__(self, dtype: Any) -> None:
        super().__init__()
        self.head = nn.Linear(40, 40)
        self.register_buffer("mask", torch.zeros(64, 64))
        self.to(dtype)


class Hooked(Masked):
    """A module with a method of its own for loading."""

    def load_state_dict(self, state: Any, **options: Any) -> Any:
        return super().load_state_dict(dict(state), **options)


@pytest.mark.parametrize("goal", GOALS, ids=str)
@pytest.mark.parametrize("kind", [Masked, Hooked])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float8_e5m2])
def test_module_of_a_narrower_dtype_stays_finite(
    tmp_path: Path, dtype: Any, kind: Any, goal: dict[str, Any]
) -> None:
    limit = torch.finfo(dtype).max
    mask = np.where(np.tri(64, dtype=bool), 0, -limit).astype(np.float32)
    weight = np.random.default_rng(0).standard_normal((40, 40)).astype(np.float32)
    state = {"mask": mask * np.float32(1.001), "head.weight": weight, "head.bias": weight[0]}
    path = pack_state(tmp_path, state, **goal)
    module = kind(dtype)
    vggq.torch.load_into(module, path)
    expected = vggq.torch.load(path, dtype=dtype)
    assert expected["mask"].double().min() == -limit
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor.view(torch.uint8), expected[name].view(torch.uint8)), name


@pytest.mark.parametrize("kind", [Masked, Hooked])
def test_values_are_limited_only_for_the_module(tmp_path: Path, kind: Any) -> None:
    """A larger dtype, and tensors that replace those of the module, keep all values."""
    state = {
        "mask": np.full((64, 64), -1e30, np.float32),
        "head.weight": np.full((40, 40), np.inf, np.float32),
        "head.bias": np.full(40, np.nan, np.float32),
    }
    path = pack_state(tmp_path, state)
    for dtype, assign in ((torch.float64, False), (torch.float16, True)):
        module = kind(dtype)
        vggq.torch.load_into(module, path, assign=assign)
        for name, tensor in tensors_of(state).items():
            np.testing.assert_array_equal(module.state_dict()[name].float(), tensor)
    module = kind(torch.float16)
    vggq.torch.load_into(module, path)
    assert (module.mask == -65504).all()
    assert module.head.weight.isinf().all()
    assert module.head.bias.isnan().all()


def test_tied_tensors_are_limited_to_the_dtype_of_each_name(tmp_path: Path) -> None:
    class Tied(Hooked):
        def __init__(self) -> None:
            super().__init__(torch.float16)
            self.register_buffer("copy", torch.zeros(64, 64))
            self.register_buffer("count", torch.zeros(64, 64, dtype=torch.int64))

    weight = np.zeros((40, 40), np.float32)
    wide = np.full((64, 64), 1e5, np.float32)
    state = {
        "mask": wide,
        "copy": wide,
        "count": wide,
        "head.weight": weight,
        "head.bias": weight[0],
    }
    module = Tied()
    vggq.torch.load_into(module, pack_state(tmp_path, state))
    assert (module.mask == 65504).all()
    assert (module.copy == 1e5).all()
    assert (module.count == 100_000).all()
