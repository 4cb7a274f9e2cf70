"""Any state dict, packed and loaded."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vggq
from vggq.packing import pack

from . import strategies
from .helpers import assert_same_arrays, measured_sqnr, save_npz

if TYPE_CHECKING:
    import random

    from numpy.typing import NDArray


goals = st.one_of(
    st.builds(lambda bits: {"bits": bits}, st.integers(1, 8)),
    st.builds(
        lambda sqnr, dependent: {"sqnr": sqnr, "dependent": dependent},
        st.floats(1, 90),
        st.booleans(),
    ),
)


def pack_bytes(folder: Path, state: dict[str, NDArray[Any]], **options: Any) -> bytes:
    folder.mkdir()
    return pack(save_npz(folder / "s.npz", state), folder / "s.vggq", **options).target.read_bytes()


def frames(data: bytes) -> bytes:
    """Return the bytes after the header, which contains a digest that depends on the order."""
    return data[8 + int.from_bytes(data[:8], "little") :]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(strategies.states, goals, st.randoms())
def test_packing_does_not_depend_on_the_order_of_the_source_or_on_threads(
    state: dict[str, NDArray[Any]], options: dict[str, Any], random: random.Random
) -> None:
    names = list(state)
    random.shuffle(names)
    with tempfile.TemporaryDirectory() as folder:
        first = pack_bytes(Path(folder, "a"), state, threads=1, **options)
        shuffled = {name: state[name] for name in names}
        second = pack_bytes(Path(folder, "b"), shuffled, threads=3, **options)
    assert frames(first) == frames(second)
    expected = vggq.load(first, threads=1)
    assert {name: array.shape for name, array in expected.items()} == {
        name: array.shape for name, array in state.items()
    }
    for data, threads in ((first, 4), (second, 1), (second, 4)):
        assert_same_arrays(vggq.load(data, threads=threads), expected)


def saturated_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    largest = np.finfo(np.float32).max
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float32)
    return np.where(np.isfinite(array), rounded.clip(-largest, largest), rounded)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(strategies.states, st.integers(1, 8))
def test_tensors_keep_names_shapes_and_dtypes_and_exact_ones_their_values(
    state: dict[str, NDArray[Any]], bits: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = save_npz(Path(folder, "s.npz"), state)
        packed = pack(source, Path(folder, "s.vggq"), bits=bits)
        restored = vggq.load(packed.target)
    assert set(restored) == set(state)
    infos = {tensor.name: tensor for tensor in packed.manifest.tensors}
    for name, array in state.items():
        found = restored[name]
        assert found.shape == array.shape
        expected = saturated_float32(array) if array.dtype.kind == "f" else array
        assert found.dtype == expected.dtype.newbyteorder("=")
        if infos[name].quantized:
            assert np.unique(found).size <= 2**bits
            assert np.isfinite(found).all()
        if not infos[name].quantized or np.unique(expected).size <= 2**bits:
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dependent", [True, False])
@pytest.mark.parametrize(
    "shape",
    [(30, 35), (12, 100), (1, 1000), (1000, 1), (2, 500), (129, 8), (3, 3, 12, 10), (10, 12, 3, 3),
     (5, 8, 25), (1, 1, 1, 1024), (2, 3, 4, 5, 9)],
)  # fmt: skip
def test_grid_reaches_the_sqnr_with_any_shape(
    tmp_path: Path, shape: tuple[int, ...], *, dependent: bool
) -> None:
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    source = save_npz(tmp_path / "s.npz", {"w": values})
    packed = pack(source, tmp_path / "s.vggq", sqnr=30, dependent=dependent)
    assert measured_sqnr(values, vggq.load(packed.target)["w"]) >= 30


@pytest.mark.parametrize(
    ("options", "sqnr"), [({"sqnr": 1}, 1), ({"sqnr": 60}, 60), ({"size": "3 kB"}, 60)], ids=str
)
@pytest.mark.parametrize("largest", [3.4e38, 1.3e30, 1.2e30, 1e-38])
def test_grid_with_weights_of_any_magnitude(
    tmp_path: Path, largest: float, options: dict[str, Any], sqnr: float
) -> None:
    """No step size and no weight overflows float32.

    With sqnr = 60 the file takes about 1 kB, so one of 3 kB has to be at least as good.
    """
    values = np.zeros((40, 40), np.float32)
    values[0, 0], values[1] = -largest, largest / 3
    source = save_npz(tmp_path / "s.npz", {"w": values})
    packed = pack(source, tmp_path / "s.vggq", **options)
    assert packed.target.stat().st_size <= 3000
    (tensor,) = packed.manifest.tensors
    assert tensor.quantized == (1e-38 < largest < 2**100)
    restored = vggq.load(packed.target)["w"]
    assert np.isfinite(restored).all()
    assert measured_sqnr(values, restored) >= (sqnr if tensor.quantized else np.inf)
