"""layout = "torch": names, and the order of axes, against the two frameworks' definitions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from vggq.errors import SourceError
from vggq.sources import Reading, open_source

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]
    Layers = dict[str, State]

RNG = np.random.default_rng(3)
GO_ON = "; without a layout its weights come as Keras has them"


def save_keras(path: Path, layers: Layers, *, group: str = "/", text: bool = False) -> Path:
    """A weights file as Keras 1 and 2 write it: a group a layer, and lists of names."""
    with h5py.File(path, "w") as file:
        root = file.require_group(group)
        root.attrs["layer_names"] = list(layers) if text else [name.encode() for name in layers]
        for layer, weights in layers.items():
            made = root.create_group(layer)
            made.attrs["weight_names"] = list(weights) if text else [n.encode() for n in weights]
            for name, array in weights.items():
                made[name] = array
    return path


def laid_out(path: Path) -> State:
    with open_source(path, Reading("torch")) as source:
        found = {tensor.name: tensor.read() for tensor in source.tensors}
        assert {t.name: t.shape for t in source.tensors} == {n: a.shape for n, a in found.items()}
        assert all(array.flags.c_contiguous for array in found.values())
    return found


def refused(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        laid_out(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def kernel(*shape: int) -> NDArray[Any]:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("group", ["/", "model_weights"])
@pytest.mark.parametrize(
    ("names", "layer"),
    [
        (("block1_conv1_W_1:0", "block1_conv1_b_1:0"), "block1_conv1"),
        (("conv_W", "conv_b"), "conv"),
        (("conv/kernel:0", "conv/bias:0"), "conv"),
        (("conv_3/kernel:0", "conv_3/bias:0"), "conv_3"),
        (("outer/conv/kernel:0", "outer/conv/bias:0"), "conv"),
    ],
)
def test_names(
    tmp_path: Path, names: tuple[str, str], layer: str, group: str, *, text: bool
) -> None:
    weights = {names[0]: kernel(3, 3, 2, 4), names[1]: kernel(4)}
    path = save_keras(tmp_path / "m.h5", {"input": {}, layer: weights}, group=group, text=text)
    found = laid_out(path)
    assert set(found) == {f"{layer}.weight", f"{layer}.bias"}
    np.testing.assert_array_equal(found[f"{layer}.bias"], weights[names[1]])


@pytest.mark.parametrize("spatial", [(3,), (3, 5), (2, 3, 4)])
def test_kernels_of_convolutions(tmp_path: Path, spatial: tuple[int, ...]) -> None:
    """torch's kernel at [out, in, place] is Keras's at [place, in, out]."""
    values = kernel(*spatial, 6, 7)
    found = laid_out(save_keras(tmp_path / "m.h5", {"c": {"c/kernel:0": values}}))["c.weight"]
    assert found.shape == (7, 6, *spatial)
    for place in np.ndindex(*spatial):
        for inner in range(6):
            for outer in range(7):
                assert found[(outer, inner, *place)] == values[(*place, inner, outer)]


def test_dense_kernels(tmp_path: Path) -> None:
    """Keras computes x @ kernel, torch x @ weight.T."""
    values, x = kernel(5, 3), kernel(2, 5)
    found = laid_out(save_keras(tmp_path / "m.h5", {"d": {"d/kernel:0": values}}))["d.weight"]
    np.testing.assert_array_equal(x @ found.T, x @ values)


def test_without_a_layout_names_are_paths(tmp_path: Path) -> None:
    path = save_keras(tmp_path / "m.h5", {"c": {"c/kernel:0": kernel(3, 3, 1, 2)}})
    with open_source(path) as source:
        (tensor,) = source.tensors
        assert (tensor.name, tensor.shape) == ("c/c/kernel:0", (3, 3, 1, 2))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"bn/moving_mean:0": kernel(4)},
            f"layer 'x' (BatchNormalization) is without its 'moving_variance'{GO_ON}",
        ),
        (
            {"x/odd:0": kernel(3, 3, 4, 1)},
            "layer 'x': layout = 'torch' does not know its weight 'odd'",
        ),
        (
            {"x/kernel:0": kernel(3, 4), "x/odd:0": kernel(3)},
            f"layer 'x' (Dense) has a weight 'odd', which layout = 'torch' does not know{GO_ON}",
        ),
        (
            {"x/kernel:0": kernel(3, 4), "x/bias:0": kernel(4, 4)},
            f"layer 'x' (Dense) has a weight 'bias' of shape (4, 4), which does not fit{GO_ON}",
        ),
        ({"x/kernel:0": kernel(4)}, "layer 'x': a kernel of shape (4,) is none of torch's"),
        (
            {"x/kernel:0": kernel(1, 1, 1, 1, 1, 1)},
            "layer 'x': a kernel of shape (1, 1, 1, 1, 1, 1) is none of torch's",
        ),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path: Path, weights: State, message: str) -> None:
    assert refused(save_keras(tmp_path / "m.h5", {"x": weights})) == message


def test_a_file_without_layers(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["w"] = kernel(3)
    assert refused(tmp_path / "m.h5") == (
        "layout = 'torch' needs a Keras file that names its layers (layer_names)"
    )


@pytest.mark.parametrize("nested", [False, True])
def test_a_whole_model_tells_the_classes_of_its_layers(tmp_path: Path, *, nested: bool) -> None:
    """Another layer's kernel may be called kernel as well, and be laid out otherwise."""
    path = save_keras(tmp_path / "m.h5", {"up": {"up/kernel:0": kernel(3, 3, 1, 2)}})
    layers = [{"class_name": "EinsumDense", "config": {"name": "up"}}]
    with h5py.File(path, "a") as file:
        config = {"layers": layers} if nested else layers
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config})
    assert refused(path) == (f"layer 'up' (EinsumDense) is none that layout = 'torch' knows{GO_ON}")
    layers[0]["class_name"] = "Conv2D"
    with h5py.File(path, "a") as file:
        config = {"layers": layers} if nested else layers
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config})
    assert laid_out(path)["up.weight"].shape == (2, 1, 3, 3)


def test_two_weights_of_one_name(tmp_path: Path) -> None:
    weights = {"a/kernel:0": kernel(2, 2), "b/kernel:0": kernel(2, 2)}
    assert refused(save_keras(tmp_path / "m.h5", {"x": weights})) == (
        "layer 'x' has two weights named 'kernel'"
    )
