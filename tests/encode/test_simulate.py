"""What a round trip would give, against the round trip."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vggq
from tests import strategies
from tests.helpers import save_npz
from vggq.encode import pack, simulate
from vggq.errors import OptionError, SourceError

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
def test_any_state_dict_comes_out_as_it_does_of_the_file(state: State, bits: int) -> None:
    assert_same_bits(simulate(state, bits=bits), round_trip(state, bits=bits))


def test_weights_are_quantized_and_those_to_keep_are_not(state: State) -> None:
    found = simulate(state, bits=2, keep=["half.*"])
    assert_same_bits(found, round_trip(state, bits=2, keep=["half.*"]))
    assert np.unique(found["conv.weight"]).size == 4
    np.testing.assert_array_equal(found["half.weight"], state["half.weight"])
    assert list(found) == list(state)


def test_the_arrays_are_fresh_and_the_state_is_left_alone(state: State) -> None:
    before = {name: array.copy() for name, array in state.items()}
    for array in simulate(state).values():
        array[...] = 0
    assert_same_bits(state, before)


def test_an_array_that_is_not_contiguous_is_read_in_its_order(state: State) -> None:
    turned = {"w": state["conv.weight"].T}
    assert_same_bits(simulate(turned), {"w": simulate({"w": turned["w"].copy()})["w"]})


@pytest.mark.torch
def test_tensors_of_torch_are_taken_as_arrays(state: State) -> None:
    import torch  # noqa: PLC0415

    tensors: Any = {"conv.weight": torch.from_numpy(state["conv.weight"])}
    expected = simulate({"conv.weight": state["conv.weight"]})
    assert_same_bits(simulate(tensors), expected)


def test_no_state_is_no_arrays() -> None:
    assert simulate({}) == {}


def test_a_dtype_that_no_file_holds_is_named() -> None:
    array = np.zeros((40, 40), ml_dtypes.bfloat16)
    expected = "tensor 'w' is of bfloat16, which is not supported; float32 would be"
    with pytest.raises(SourceError, match=f"^{expected}$"):
        simulate({"w": array})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 9}, "bits: expected an integer from 1 to 8, found 9"),
        ({"keep": ["x"]}, "keep: the pattern 'x' matches no tensor"),
        ({"keep": "x"}, "keep: expected a list of patterns such as '\\*.bias', found 'x'"),
    ],
)
def test_an_option_that_cannot_be_followed_is_named(
    state: State, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=f"^{message}$"):
        simulate(state, **options)
