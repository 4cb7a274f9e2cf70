"""`vggq.open` and the lazy mapping that it returns."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from vggq import errors

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]


def test_weights_are_close_to_the_source_or_equal(packed: Path, state: State) -> None:
    with vggq.open(packed) as weights:
        assert list(weights) == sorted(state)
        for name, array in weights.items():
            expected = state[name]
            assert array.shape == expected.shape
            assert array.dtype == (np.float32 if expected.dtype.kind == "f" else expected.dtype)
            assert array.flags.writeable
            np.testing.assert_allclose(array, expected, atol=0.05 if expected.ndim == 2 else 0)


class RecordedReads(io.BytesIO):
    """A file that records the sizes of its reads."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads: list[int | None] = []

    def read(self, size: int | None = -1) -> bytes:
        self.reads.append(size)
        return super().read(size)


def test_open_decodes_nothing_before_a_tensor_is_looked_up(packed: Path) -> None:
    file = RecordedReads(packed.read_bytes())
    with vggq.open(file) as weights:
        header_reads = len(file.reads)
        assert list(weights) == ["conv.bias", "conv.weight", "half.weight", "mask", "steps"]
        assert len(weights) == 5
        assert "conv.bias" in weights
        assert "nope" not in weights
        assert weights.tensors["half.weight"].shape == (40, 30)
        assert weights.tensors["half.weight"].source_dtype == "F16"
        assert weights.tensors["half.weight"].dtype == np.float32
        assert weights.tensors["mask"].dtype == bool
        assert weights.size == packed.stat().st_size
        assert len(file.reads) == header_reads
        assert weights["steps"] == 7
        assert file.reads[header_reads:] == [weights.stored_size("steps")]


def test_repr_has_the_path_and_the_number_of_tensors(packed: Path) -> None:
    with vggq.open(packed) as weights:
        assert weights.name == str(packed)
        assert repr(weights) == f"<vggq.Weights of {packed}: 5 tensors>"


def test_each_look_up_returns_a_new_array(packed: Path) -> None:
    with vggq.open(packed) as weights:
        first = weights["conv.weight"]
        kept = first.copy()
        first[:] = 0
        np.testing.assert_array_equal(weights["conv.weight"], kept)


def test_unknown_tensor_is_named(packed: Path) -> None:
    with vggq.open(packed) as weights:
        with pytest.raises(errors.UnknownTensorError) as caught:
            weights["a'b"]
        assert isinstance(caught.value, KeyError)
        assert str(caught.value) == f'{packed}: no tensor is named "a\'b"'
        with pytest.raises(errors.UnknownTensorError):
            weights.stored_size("nope")
        assert weights.get("nope") is None


def test_closed_weights_keep_names_and_decoded_arrays(packed: Path) -> None:
    with vggq.open(packed) as weights:
        array = weights["conv.bias"]
    weights.close()
    with pytest.raises(errors.ClosedError) as caught:
        weights["conv.bias"]
    assert isinstance(caught.value, ValueError)
    assert str(caught.value) == f"{packed}: the file is closed"
    assert array.shape == (40,)
    assert "conv.bias" in weights


def test_invalid_file_is_closed_and_named(tmp_path: Path) -> None:
    """If the file were left open, its ResourceWarning would fail the test."""
    path = tmp_path / "broken.vggq"
    path.write_bytes(b"\0" * 20)
    with pytest.raises(errors.HeaderError) as caught:
        vggq.open(path)
    assert str(caught.value).startswith(f"{path}: not a valid .vggq file: not valid JSON")


def test_threads_look_up_tensors_of_one_file(packed: Path) -> None:
    expected = vggq.load(packed)
    with vggq.open(packed) as weights, ThreadPoolExecutor(8) as pool:
        names = [name for name in weights for _ in range(40)]
        for name, array in zip(names, pool.map(weights.__getitem__, names), strict=True):
            np.testing.assert_array_equal(array, expected[name])
