"""The `grid` codec on a device, compared with its decoder; on CUDA as well, if there is one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vggq
from vggq._codecs import Grid
from vggq._codecs._scales import Slices
from vggq._codecs._streams import Kind, Plain, Runs
from vggq._codecs._trellis import STATES
from vggq.packing.codecs.grid import streams

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

torch = pytest.importorskip("torch")
import vggq.torch  # noqa: E402 - only if torch is installed
from vggq.torch import _grid, _on_device  # noqa: E402
from vggq.torch._grid_parts import split_content  # noqa: E402
from vggq.torch._transfer import Transfers  # noqa: E402

from .torch_models import assert_same_tensors, on_cpu, pack_state, tensors_of  # noqa: E402

pytestmark = pytest.mark.torch

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
KINDS: list[Kind] = [Plain(0), Plain(1), Plain(2), Plain(4), Plain(8), Runs(1), Runs(42), Runs(127)]


def make_grid(
    seed: int,
    *,
    taps: int = 1,
    row: int = 300,
    rows: int = 1,
    states: int = 1,
    first: bool = False,
    spread: float = 30,
    step: float = 0.01,
    scale: float = 0,
) -> tuple[bytes, Grid, int]:
    """Return content with bands of random kinds, its codec, and its number of weights.

    Args:
        seed: the seed of all random choices.
        taps: the number of weights of a vector.
        row: the number of vectors of a row.
        rows: the number of rows.
        states: the number of states of dependent levels.
        first: whether the weights of a vector are along the first axes.
        spread: about the absolute value of the levels; most bands have escapes.
        step: the step size.
        scale: about the largest scale; 0 for no scales.

    """
    rng = np.random.default_rng(seed)
    vectors, count = row * rows, row * rows * taps

    def band() -> streams.BandStream:
        levels = np.rint(rng.laplace(size=vectors) * spread).clip(-(1 << 23), 1 << 23)
        kind = KINDS[rng.integers(len(KINDS))]
        return streams.encode_levels(kind, int(rng.integers(1, 128)), levels.astype(np.int32))

    bands = streams.serialize_bands([band() for _ in range(taps)])
    slices = Slices(taps, count // taps) if scale and count else None
    scales = (rng.random(taps).astype(np.float32) * np.float32(scale)).view(np.uint32) >> 16
    content = [scales.astype("<u2").tobytes()] if slices else []
    content.append(np.float32(step).tobytes())
    content.append(
        rng.integers(-(1 << 15), 1 << 15, taps * taps * (taps > 1)).astype("<i2").tobytes()
    )
    content.append(rng.permutation(rows * (rows > 1)).astype("<u2").tobytes())
    joined = b"".join([*content, *bands])
    codec = Grid(taps, first, rows, states, len(joined), slices)
    codec.validate(joined, count)
    return joined, codec, count


def decoded(content: bytes, codec: Grid, count: int) -> NDArray[np.float32]:
    restored = np.empty(count, np.float32)
    codec.decode_into(content, restored)
    return restored


def assert_restored(grid: tuple[bytes, Grid, int], move: Any = on_cpu, **options: int) -> None:
    """Assert that a device restores the bits of the decoder."""
    parts = split_content(*grid)
    (weights,) = _grid.restore_all([parts], move, **options)
    found = weights.cpu().numpy()
    assert found.dtype == np.float32
    assert found.tobytes() == decoded(*grid).tobytes()


def grids_of_all_forms(states: int) -> Iterator[tuple[bytes, Grid, int]]:
    """Yield grids with and without a basis, an order, scales and escapes; some saturate."""
    for seed, (taps, row, rows) in enumerate(
        [(1, 1, 1), (1, 7, 3), (1, 511, 1), (2, 512, 2), (3, 513, 1), (9, 700, 4), (25, 37, 5)]
    ):
        for first in (False, True):
            shape: dict[str, Any] = {
                "taps": taps, "row": row, "rows": rows, "states": states, "first": first
            }  # fmt: skip
            for spread in (1, 30, 1e4, 1e7):
                yield make_grid(seed, spread=spread, **shape)
            yield make_grid(seed, step=3e37, **shape)
            yield make_grid(seed, step=2.0**-149, spread=2, **shape)
            if rows == 1:
                yield make_grid(seed, scale=2, **shape)
                yield make_grid(seed, scale=1e38, step=1e5, **shape)
                yield make_grid(seed, scale=2.0**-120, step=2.0**-20, **shape)


@pytest.mark.parametrize("states", STATES)
def test_device_restores_grids_of_all_forms(states: int) -> None:
    for grid in grids_of_all_forms(states):
        assert_restored(grid)


@given(
    seed=st.integers(0, 9999),
    taps=st.integers(1, 5),
    row=st.integers(1, 40) | st.integers(500, 1100),
    rows=st.integers(1, 3),
    states=st.sampled_from(STATES),
    first=st.booleans(),
    spread=st.sampled_from([0.5, 5, 100, 1e6]),
)
def test_device_restores_any_grid_in_chunks(**options: Any) -> None:
    assert_restored(make_grid(**options), chunk=1)


@pytest.mark.parametrize("chunk", [1 << 10, 1 << 13, 1 << 23])
def test_device_restores_several_grids_at_once(chunk: int) -> None:
    grids = [grid for states in (1, 8, 256) for grid in grids_of_all_forms(states)]
    found = _grid.restore_all([split_content(*grid) for grid in grids], on_cpu, chunk=chunk)
    for weights, grid in zip(found, grids, strict=True):
        assert weights.numpy().tobytes() == decoded(*grid).tobytes()


def test_device_restores_most_taps() -> None:
    assert_restored(make_grid(0, taps=128, row=65, spread=1e7, states=256))


def test_content_without_runs_is_not_copied() -> None:
    levels = np.arange(-90, 90, dtype=np.int32)
    bands = [streams.encode_levels(Plain(shift), 127, levels) for shift in (2, 0)]
    content = b"".join([np.float32(1).tobytes(), bytes(8), *streams.serialize_bands(bands)])
    parts = split_content(content, Grid(2, False, 1, 4, len(content)), 360)
    assert np.shares_memory(parts.levels, np.frombuffer(content, np.uint8))


@contextmanager
def less_exact_products() -> Iterator[None]:
    """Allow products of lower precision, where torch calculates matrix products."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def deterministic_algorithms() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def float64_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


SETTINGS = [
    less_exact_products,
    deterministic_algorithms,
    float64_by_default,
    torch.inference_mode,
    torch.enable_grad,
    lambda: torch.autocast("cpu", torch.bfloat16),
    lambda: torch.autocast("cuda", torch.float16, enabled=torch.cuda.is_available()),
    lambda: torch.device("meta"),
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_of_torch_do_not_change_the_bits(setting: Any) -> None:
    grid = make_grid(3, taps=9, row=600, rows=2, states=64)
    with setting():
        assert_restored(grid)


@pytest.fixture
def as_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat the CPU like another device, on which numpy cannot decode."""
    monkeypatch.setattr(_on_device, "decodes_with_numpy", lambda _: False)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pack tensors of odd sizes, some of them large, in each codec and with scales."""
    rng = np.random.default_rng(0)
    shapes = {
        "matrix": (61, 83), "large": (523, 521), "vector": (77,), "kernel": (19, 13, 3, 3),
        "wide kernel": (5, 5, 23, 3), "one": (1, 1), "scalar": (), "empty": (0, 3),
    }  # fmt: skip
    state: dict[str, NDArray[Any]] = {
        name: (rng.laplace(size=shape) * 10.0 ** rng.integers(-3, 6)).astype(np.float32)
        for name, shape in shapes.items()
    }
    state["integers"] = np.arange(7)
    goals: list[dict[str, Any]] = [
        {"bits": 8}, {"bits": 5}, {"bits": 2}, {"bits": 4, "scale": "rows"}, {"keep": ["*"]},
        {"sqnr": 45}, {"sqnr": 20, "dependent": False}, {"sqnr": 25, "scale": "rows"},
    ]  # fmt: skip
    folder = tmp_path_factory.mktemp("odd")
    return [pack_state(folder, state, name=str(i), **goal) for i, goal in enumerate(goals)]


DTYPES = [None, torch.float16, torch.bfloat16, torch.float64, torch.float8_e5m2, "source"]


@pytest.mark.usefixtures("as_another_device")
def test_device_restores_odd_sizes_of_every_codec(packed: list[Path]) -> None:
    for path in packed:
        assert_same_tensors(vggq.torch.load(path), tensors_of(vggq.load(path)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_device_restores_odd_sizes_in_every_dtype(
    packed: list[Path], dtype: Any, request: pytest.FixtureRequest
) -> None:
    expected = [vggq.torch.load(path, dtype=dtype) for path in packed]
    request.getfixturevalue("as_another_device")
    for path, tensors in zip(packed, expected, strict=True):
        assert_same_bits(vggq.torch.load(path, dtype=dtype), tensors)


def assert_same_bits(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert bits_of(found[name]) == bits_of(tensor), name


def bits_of(tensor: Any) -> bytes:
    return bytes(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())


# On CUDA


def on_cuda(values: Any) -> Any:
    return Transfers().move(values, torch.device("cuda", 0))


@cuda
@pytest.mark.parametrize("states", STATES)
def test_cuda_restores_grids_of_all_forms(states: int) -> None:
    for grid in grids_of_all_forms(states):
        assert_restored(grid, on_cuda)
    assert_restored(make_grid(9, taps=9, row=3000, rows=3, states=states), on_cuda, chunk=1)
    assert_restored(make_grid(9, taps=128, row=65, states=states), on_cuda)


@cuda
@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_of_torch_do_not_change_the_bits_on_cuda(setting: Any) -> None:
    grid = make_grid(3, taps=9, row=600, rows=2, states=64)
    with setting():
        assert_restored(grid, on_cuda)


@cuda
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_cuda_restores_odd_sizes_of_every_codec(packed: list[Path], dtype: Any) -> None:
    for path in packed:
        found = vggq.torch.load(path, device="cuda", dtype=dtype)
        assert {tensor.device for tensor in found.values()} == {torch.device("cuda", 0)}
        assert_same_bits(found, vggq.torch.load(path, dtype=dtype))


@cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_cuda_module_is_filled(tmp_path: Path, dtype: Any) -> None:
    state = {
        "weight": np.random.default_rng(0).laplace(size=(523, 521)).astype(np.float32),
        "bias": np.random.default_rng(1).laplace(size=523).astype(np.float32),
    }
    for index, goal in enumerate([{"bits": 8}, {"sqnr": 40}]):
        path = pack_state(tmp_path, state, name=str(index), **goal)
        module = torch.nn.Linear(521, 523, dtype=dtype, device="cuda")
        memory = module.weight.data_ptr()
        vggq.torch.load_into(module, path)
        assert module.weight.data_ptr() == memory
        expected = vggq.torch.load(path, dtype=dtype)
        found = dict(module.state_dict())
        assert_same_bits({name: found[name] for name in expected}, expected)


@cuda
def test_cuda_restores_on_the_stream_of_the_caller(packed: list[Path]) -> None:
    for path in packed:
        with torch.cuda.stream(torch.cuda.Stream()) as stream:
            found = vggq.torch.load(path, device="cuda")
            doubled = {name: tensor * 2 for name, tensor in found.items()}
        del stream
        for name, array in vggq.load(path).items():
            np.testing.assert_array_equal(doubled[name].cpu().numpy(), array * 2)


@cuda
def test_transfers_keep_memory_until_copies_have_ended() -> None:
    device, rng = torch.device("cuda", 0), np.random.default_rng(0)
    with Transfers(max_pending=1 << 20) as transfers:
        arrays = [rng.integers(0, 256, 1 << 19, np.uint8) for _ in range(9)]
        moved = [transfers.move(array, device) for array in arrays]
        assert 0 < transfers.pending <= (1 << 20) + (1 << 19)
    assert transfers.pending == 0
    for tensor, array in zip(moved, arrays, strict=True):
        np.testing.assert_array_equal(tensor.cpu().numpy(), array)
