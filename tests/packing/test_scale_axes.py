"""The option `scale`: which axis it means for which tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

import vggq
from tests.helpers import save_npz
from vggq._codecs import Codebook
from vggq.errors import OptionError
from vggq.packing import Options, pack, simulate
from vggq.packing.cli import main
from vggq.packing.scale_axes import find_axis
from vggq.packing.sources import SourceTensor

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SHAPES = {"conv": (6, 7, 5, 8), "dense": (30, 40), "lstm": (40, 30), "bias": (2000,)}
STATE = {
    name: np.random.default_rng(0).standard_normal(shape).astype("f4")
    for name, shape in SHAPES.items()
}


def tensor(*shape: int, channels_last: bool = False) -> SourceTensor:
    return SourceTensor("w", "F32", shape, lambda: np.zeros(shape), channels_last=channels_last)


@pytest.mark.parametrize(
    ("scale", "shape", "axis"),
    [
        ("none", (3, 4, 5), None),
        ("rows", (3, 4), 0),
        ("columns", (3, 4, 5), 1),
        (2, (3, 4, 5), 2),
        (-1, (3, 4, 5), 2),
        (-3, (3, 4, 5), 0),
        ("rows", (1, 4), None),
        (1, (4, 1, 5), None),
        ("channels", (3, 4), None),
        ("channels", (3, 4, 5), 0),
        ("channels", (3, 1, 5, 5), 0),
        ("channels", (1, 4, 5), None),
    ],
)
def test_axis_of_a_tensor(scale: str | int, shape: tuple[int, ...], axis: int | None) -> None:
    assert find_axis(tensor(*shape), scale) == axis


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((3, 3, 4, 5), 3), ((5, 4, 6), 2), ((3, 3, 4, 1), 2), ((3, 1, 1), None), ((4, 5), None)],
)
def test_channels_are_the_last_axis_of_keras(shape: tuple[int, ...], axis: int | None) -> None:
    assert find_axis(tensor(*shape, channels_last=True), "channels") == axis


def slices_of(path: Path) -> dict[str, tuple[int, int] | None]:
    """Return the number of scales and the run of each codebook of a packed file."""
    with vggq.open(path) as weights:
        codecs = {name: info.codec for name, info in weights.tensors.items()}
    return {
        name: (codec.slices.scales, codec.slices.run) if codec.slices else None
        for name, codec in codecs.items()
        if isinstance(codec, Codebook)
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"conv": None, "dense": None, "lstm": None}),
        ({"scale": "channels"}, {"conv": (6, 280), "dense": None, "lstm": None}),
        ({"scale": "columns"}, {"conv": (7, 40), "dense": (40, 1), "lstm": (30, 1)}),
        (
            {"scale": 0, "tensors": [{"match": "lstm", "scale": "columns"}]},
            {"conv": (6, 280), "dense": (30, 40), "lstm": (30, 1)},
        ),
        (
            {"scale": "rows", "tensors": [{"match": "[cl]*", "bits": 3, "scale": "none"}]},
            {"conv": None, "dense": (30, 40), "lstm": None},
        ),
    ],
    ids=str,
)
def test_pack_scales_the_chosen_tensors(tmp_path: Path, options: Any, expected: Any) -> None:
    target = tmp_path / "s.vggq"
    pack(save_npz(tmp_path / "s.npz", STATE), target, bits=4, **options)
    assert slices_of(target) == expected
    restored = vggq.load(target)
    simulated = simulate(STATE, bits=4, **options)
    assert all(restored[name].tobytes() == simulated[name].tobytes() for name in STATE)


def test_scale_none_writes_the_same_bytes_as_no_option(tmp_path: Path) -> None:
    source = save_npz(tmp_path / "s.npz", STATE)
    plain = pack(source, tmp_path / "a.vggq", bits=5)
    none = pack(source, tmp_path / "b.vggq", bits=5, scale="none")
    assert plain.target.read_bytes() == none.target.read_bytes()


def save_keras(path: Path, kernel: NDArray[Any]) -> Path:
    """Write a layer Conv2D as `save_weights` of Keras 2 does."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv"]
        group = file.create_group("conv")
        group.attrs["weight_names"] = [b"conv/kernel:0"]
        group["conv/kernel:0"] = kernel
    return path


@pytest.mark.parametrize(
    ("layout", "expected"), [(None, (5, 1)), ("torch", (5, 24 * 9))], ids=["keras", "torch"]
)
def test_channels_of_keras_depend_on_the_layout(
    tmp_path: Path, layout: str | None, expected: tuple[int, int]
) -> None:
    kernel = np.random.default_rng(0).standard_normal((3, 3, 24, 5)).astype("f4")
    source = save_keras(tmp_path / "s.h5", kernel)
    packed = pack(source, tmp_path / "s.vggq", layout=layout, scale="channels")
    assert list(slices_of(packed.target).values()) == [expected]


def test_simulate_knows_the_channels_of_a_format() -> None:
    values = STATE["conv"] * np.exp2(np.arange(8, dtype="f4"))
    state = {"w": values}
    last = simulate(state, bits=4, scale=-1)["w"]
    first = simulate(state, bits=4, scale=0)["w"]
    assert not np.array_equal(first, last)
    for source_format, expected in (("keras-hdf5", last), ("keras", last), ("onnx", first)):
        found = simulate(state, bits=4, scale="channels", source_format=source_format)["w"]
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("goal", [{"bits": 4}, {"sqnr": 20}, {"size": 100_000}], ids=str)
def test_missing_axis_is_an_error_that_names_the_tensor(tmp_path: Path, goal: Any) -> None:
    source = save_npz(tmp_path / "s.npz", STATE)
    with pytest.raises(OptionError) as caught:
        pack(source, tmp_path / "s.vggq", scale=3, **goal)
    assert caught.value.problems == [
        ("scale", "tensor 'dense' of shape [30, 40] has no axis 3"),
        ("scale", "tensor 'lstm' of shape [40, 30] has no axis 3"),
    ]
    assert not (tmp_path / "s.vggq").exists()
    pack(source, tmp_path / "s.vggq", scale=3, tensors=[{"match": "[dl]*", "scale": "none"}])


@pytest.mark.parametrize(
    ("text", "scale"), [("-1", -1), ("0", 0), ("rows", "rows"), ("channels", "channels")]
)
def test_command_line_takes_numbers_and_words(tmp_path: Path, text: str, scale: Any) -> None:
    source = save_npz(tmp_path / "s.npz", STATE)
    assert not main(["pack", str(source), str(tmp_path / "a.vggq"), "--scale", text])
    pack(source, tmp_path / "b.vggq", scale=scale)
    assert (tmp_path / "a.vggq").read_bytes() == (tmp_path / "b.vggq").read_bytes()


@pytest.mark.parametrize("scale", [32, -33, 1.0, True, None, "1", "row", "", ["rows"]], ids=repr)
def test_invalid_axis_is_rejected(scale: Any) -> None:
    with pytest.raises(OptionError, match="scale: expected the number of an axis, or one of "):
        Options(scale=scale)
    with pytest.raises(OptionError, match="expected the number of an axis, or one of "):
        Options(tensors=[{"match": "w", "scale": scale}])
