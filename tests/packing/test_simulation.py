"""`simulate`, compared with a round trip through a packed file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

import vggq
from tests import strategies
from tests.helpers import save_npz
from vggq.errors import OptionError, SourceError
from vggq.packing import pack, simulate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]


def round_trip(state: State, **options: Any) -> State:
    with tempfile.TemporaryDirectory() as folder:
        source = save_npz(Path(folder, "s.npz"), state)
        return vggq.load(pack(source, Path(folder, "s.vggq"), **options).target)


def assert_same_bits(found: State, expected: State) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(strategies.states, st.integers(1, 8))
def test_simulate_equals_a_round_trip_for_any_state_dict_and_width(state: State, bits: int) -> None:
    assert_same_bits(simulate(state, bits=bits), round_trip(state, bits=bits))


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    strategies.states,
    st.fixed_dictionaries({"sqnr": st.floats(0.1, 120), "dependent": st.booleans()}),
)
def test_simulate_equals_a_round_trip_for_any_state_dict_and_sqnr(
    state: State, goal: dict[str, Any]
) -> None:
    assert_same_bits(simulate(state, **goal), round_trip(state, **goal))


@pytest.fixture
def kernels() -> State:
    """Weights in a matrix and in kernels, a tied one, and two tensors in no natural order."""
    rng = np.random.default_rng(6)
    matrix = rng.standard_normal((60, 40)).astype(np.float32)
    convolution = rng.standard_normal((20, 30, 3, 3)).astype(np.float32) * 0.1
    small = {f"a.{n}.bias": np.full(3, n, np.float32) for n in (10, 9)}
    return {"z": convolution, "m": matrix, "tied": matrix, **small}


GOALS: list[dict[str, Any]] = [
    {"sqnr": 25.0},
    {"sqnr": 25.0, "dependent": False},
    {"size": 12_000},
    {"size": "9 kB", "objective": "overall"},
    {"size": "9 kB", "importance": {"m": 4.0}},
    {"size": 19_000, "dependent": False, "keep": ["m"]},
    {"size": 14_000, "tensors": [{"match": "m", "bits": 5}]},
    {"bits": 3, "tensors": [{"match": "z", "sqnr": 30.0}]},
]


@pytest.mark.parametrize("goal", GOALS, ids=str)
def test_simulate_equals_a_round_trip_for_every_goal(kernels: State, goal: dict[str, Any]) -> None:
    found = simulate(kernels, **goal)
    assert_same_bits(found, round_trip(kernels, **goal))
    assert list(found) == list(kernels)
    assert not np.array_equal(found["z"], kernels["z"])


def test_simulate_takes_the_source_format_into_account_for_a_size(
    tmp_path: Path, kernels: State
) -> None:
    tied = kernels.pop("tied")
    assert tied is kernels["m"]
    source = tmp_path / "s.safetensors"
    save_file(kernels, source)
    expected = vggq.load(pack(source, tmp_path / "s.vggq", size=9000).target)
    assert_same_bits(simulate(kernels, size=9000, source_format="safetensors"), expected)


def test_weights_are_quantized_and_those_to_keep_are_not(state: State) -> None:
    found = simulate(state, bits=2, keep=["half.*"])
    assert_same_bits(found, round_trip(state, bits=2, keep=["half.*"]))
    assert np.unique(found["conv.weight"]).size == 4
    np.testing.assert_array_equal(found["half.weight"], state["half.weight"])
    assert list(found) == list(state)


def test_simulate_returns_new_arrays_and_does_not_change_the_state(state: State) -> None:
    before = {name: array.copy() for name, array in state.items()}
    for array in simulate(state).values():
        array[...] = 0
    assert_same_bits(state, before)


def test_simulate_reads_non_contiguous_arrays_in_index_order(state: State) -> None:
    turned = {"w": state["conv.weight"].T}
    assert_same_bits(simulate(turned), {"w": simulate({"w": turned["w"].copy()})["w"]})


@pytest.mark.torch
def test_simulate_accepts_torch_tensors(state: State) -> None:
    import torch  # noqa: PLC0415

    tensors: Any = {"conv.weight": torch.from_numpy(state["conv.weight"])}
    expected = simulate({"conv.weight": state["conv.weight"]})
    assert_same_bits(simulate(tensors), expected)


def test_simulate_of_an_empty_state_is_empty() -> None:
    assert simulate({}) == {}


def test_simulate_rejects_dtypes_that_cannot_be_packed() -> None:
    array = np.zeros((40, 40), ml_dtypes.bfloat16)
    expected = "tensor 'w': bfloat16 is not supported; convert it to float32"
    with pytest.raises(SourceError, match=f"^{expected}$"):
        simulate({"w": array})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"size": 100},
            "size: 100 B is too small: the minimum is size = [0-9]+, with an SQNR of 0.00 dB",
        ),
        ({"sqnr": 30, "bits": 3}, "sqnr: expected one of bits, sqnr, size, found bits and sqnr"),
        ({"size": 9000, "importance": {"x": 2.0}}, "importance: no tensor is named 'x'"),
        ({"tensors": [{"match": "x", "bits": 3}]}, "tensors: the pattern 'x' matches no tensor"),
        ({"bits": 9}, "bits: expected an integer from 1 to 8, found 9"),
        ({"key": "x", "url": "y"}, "key: does not apply to arrays; url: does not apply to arrays"),
        ({"keep": ["x"]}, "keep: the pattern 'x' matches no tensor"),
        ({"keep": "x"}, "keep: expected a list of patterns such as '\\*.bias', found 'x'"),
    ],
)
def test_simulate_rejects_invalid_options(
    state: State, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=f"^{message}$"):
        simulate(state, **options)
