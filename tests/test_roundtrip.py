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
from .helpers import save_npz

if TYPE_CHECKING:
    import random

    from numpy.typing import NDArray


# What a packed file is asked for, as `pack` takes it.
asked = st.one_of(
    st.builds(lambda bits: {"bits": bits}, st.integers(1, 8)),
    st.builds(
        lambda sqnr, dependent: {"sqnr": sqnr, "dependent": dependent},
        st.floats(1, 90),
        st.booleans(),
    ),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(strategies.states, asked, st.randoms())
def test_it_is_a_pure_function_of_the_names_and_values(
    state: dict[str, NDArray[Any]], options: dict[str, Any], chance: random.Random
) -> None:
    """Neither the order of a source nor the number of threads is in the bytes, or in the arrays."""
    names = list(state)
    chance.shuffle(names)
    with tempfile.TemporaryDirectory() as folder:
        first = packed_from(Path(folder, "a"), state, threads=1, **options)
        shuffled = {name: state[name] for name in names}
        second = packed_from(Path(folder, "b"), shuffled, threads=3, **options)
    restored = [vggq.load(data, threads=threads) for data in (first, second) for threads in (1, 4)]
    for arrays in restored:
        assert list(arrays) == list(restored[0])
        assert set(arrays) == set(state)
        assert all(arrays[name].shape == array.shape for name, array in state.items())
        assert all(array.tobytes() == restored[0][name].tobytes() for name, array in arrays.items())
    assert frames(first) == frames(second)


def packed_from(folder: Path, state: dict[str, NDArray[Any]], **options: Any) -> bytes:
    folder.mkdir()
    return pack(save_npz(folder / "s.npz", state), folder / "s.vggq", **options).target.read_bytes()


def frames(data: bytes) -> bytes:
    """All behind the header, which has the digest of the source, and that has its order."""
    return data[8 + int.from_bytes(data[:8], "little") :]


@pytest.mark.parametrize("dependent", [True, False])
@pytest.mark.parametrize(
    "shape",
    [(30, 35), (12, 100), (1, 1000), (1000, 1), (2, 500), (129, 8), (3, 3, 12, 10), (10, 12, 3, 3),
     (5, 8, 25), (1, 1, 1, 1024), (2, 3, 4, 5, 9)],
)  # fmt: skip
def test_a_tensor_of_any_shape_on_a_grid(
    tmp_path: Path, shape: tuple[int, ...], *, dependent: bool
) -> None:
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    source = save_npz(tmp_path / "s.npz", {"w": values})
    packed = pack(source, tmp_path / "s.vggq", sqnr=30, dependent=dependent)
    error = np.square(vggq.load(packed.target)["w"] - values, dtype=np.float64).sum()
    assert 10 * np.log10(np.square(values, dtype=np.float64).sum() / error) >= 29.99


@pytest.mark.parametrize("options", [{"sqnr": 1}, {"sqnr": 60}, {"size": "3 kB"}], ids=str)
@pytest.mark.parametrize("largest", [3.4e38, 1.3e30, 1.2e30, 1e-38])
def test_weights_of_any_magnitude(tmp_path: Path, largest: float, options: dict[str, Any]) -> None:
    """No step and no product of theirs is beyond float32."""
    values = np.zeros((40, 40), np.float32)
    values[0, 0], values[1] = -largest, largest / 3
    source = save_npz(tmp_path / "s.npz", {"w": values})
    packed = pack(source, tmp_path / "s.vggq", **options)
    (tensor,) = packed.manifest.tensors
    assert tensor.quantized == (1e-38 < largest < 2**100)
    restored = vggq.load(packed.target)["w"]
    assert np.isfinite(restored).all()
    assert (restored == values).all() or tensor.sqnr >= options.get("sqnr", 0)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(strategies.states, st.integers(1, 8))
def test_any_state_dict(state: dict[str, NDArray[Any]], bits: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = save_npz(Path(folder, "s.npz"), state)
        packed = pack(source, Path(folder, "s.vggq"), bits=bits)
        restored = vggq.load(packed.target)
    assert set(restored) == set(state)
    infos = {tensor.name: tensor for tensor in packed.manifest.tensors}
    for name, array in state.items():
        back = restored[name]
        assert back.shape == array.shape
        with np.errstate(over="ignore"):
            expected = array.astype(np.float32) if array.dtype.kind == "f" else array
        assert back.dtype == expected.dtype.newbyteorder("=")
        if infos[name].quantized:
            assert np.unique(back).size <= 2**bits
            assert np.isfinite(back).all()
        if not infos[name].quantized or np.unique(expected).size <= 2**bits:
            np.testing.assert_array_equal(back, expected)
