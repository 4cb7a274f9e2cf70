"""layout = "torch": names and order of axes, compared with both frameworks' definitions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from vggq.errors import SourceError
from vggq.packing.sources import ReadOptions, open_source

from .problems import problem_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]
    Layers = dict[str, State]

RNG = np.random.default_rng(3)
ADVICE = "; without `layout` the weights keep Keras's names and axes"


def save_keras(path: Path, layers: Layers, *, group: str = "/", text: bool = False) -> Path:
    """Write a weights file as Keras 1 and 2 do: one group per layer, and lists of names."""
    with h5py.File(path, "w") as file:
        root = file.require_group(group)
        root.attrs["layer_names"] = list(layers) if text else [name.encode() for name in layers]
        for layer, weights in layers.items():
            made = root.create_group(layer)
            made.attrs["weight_names"] = list(weights) if text else [n.encode() for n in weights]
            for name, array in weights.items():
                made[name] = array
    return path


def read_for_torch(path: Path, *drop: str) -> State:
    with open_source(path, ReadOptions("torch", drop=drop)) as source:
        found = {tensor.name: tensor.read() for tensor in source.tensors}
        assert {t.name: t.shape for t in source.tensors} == {n: a.shape for n, a in found.items()}
        assert all(array.flags.c_contiguous for array in found.values())
    return found


def error_of(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read_for_torch(path)
    assert caught.value.path == path
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
def test_names_are_those_of_torch(
    tmp_path: Path, names: tuple[str, str], layer: str, group: str, *, text: bool
) -> None:
    weights = {names[0]: kernel(3, 3, 2, 4), names[1]: kernel(4)}
    path = save_keras(tmp_path / "m.h5", {"input": {}, layer: weights}, group=group, text=text)
    found = read_for_torch(path)
    assert set(found) == {f"{layer}.weight", f"{layer}.bias"}
    np.testing.assert_array_equal(found[f"{layer}.bias"], weights[names[1]])


@pytest.mark.parametrize("spatial", [(3,), (3, 5), (2, 3, 4)])
def test_kernels_of_convolutions_have_torchs_axes(tmp_path: Path, spatial: tuple[int, ...]) -> None:
    """Compare torch's [out, in, position] with Keras's [position, in, out]."""
    values = kernel(*spatial, 6, 7)
    found = read_for_torch(save_keras(tmp_path / "m.h5", {"c": {"c/kernel:0": values}}))["c.weight"]
    assert found.shape == (7, 6, *spatial)
    for position in np.ndindex(*spatial):
        for inner in range(6):
            for outer in range(7):
                assert found[(outer, inner, *position)] == values[(*position, inner, outer)]


def test_dense_kernels_are_transposed(tmp_path: Path) -> None:
    """Keras computes x @ kernel, torch x @ weight.T."""
    values, x = kernel(5, 3), kernel(2, 5)
    found = read_for_torch(save_keras(tmp_path / "m.h5", {"d": {"d/kernel:0": values}}))["d.weight"]
    np.testing.assert_array_equal(x @ found.T, x @ values)


def test_without_layout_names_are_paths(tmp_path: Path) -> None:
    path = save_keras(tmp_path / "m.h5", {"c": {"c/kernel:0": kernel(3, 3, 1, 2)}})
    with open_source(path) as source:
        (tensor,) = source.tensors
        assert (tensor.name, tensor.shape) == ("c/c/kernel:0", (3, 3, 1, 2))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"bn/moving_mean:0": kernel(4)},
            f"layer 'x' (BatchNormalization): its weight 'moving_variance' is missing{ADVICE}",
        ),
        (
            {"x/odd:0": kernel(3, 3, 4, 1)},
            "layer 'x': cannot infer the layer's class from its weight 'odd'",
        ),
        (
            {"x/kernel:0": kernel(3, 4), "x/odd:0": kernel(3)},
            f"layer 'x' (Dense): layout = 'torch' does not support its weight 'odd'{ADVICE}",
        ),
        (
            {"x/kernel:0": kernel(3, 4), "x/bias:0": kernel(4, 4)},
            f"layer 'x' (Dense): the shape (4, 4) of its weight 'bias' is not supported{ADVICE}",
        ),
        ({"x/kernel:0": kernel(4)}, "layer 'x': no layer of torch has a kernel of the shape (4,)"),
        (
            {"x/kernel:0": kernel(1, 1, 1, 1, 1, 1)},
            "layer 'x': no layer of torch has a kernel of the shape (1, 1, 1, 1, 1, 1)",
        ),
    ],
)
def test_open_rejects_unsupported_weights_by_name(
    tmp_path: Path, weights: State, message: str
) -> None:
    path = save_keras(tmp_path / "m.h5", {"x": weights, "fine": {"fine/kernel:0": kernel(2, 3)}})
    assert problem_of(error_of(path), count=len(weights)) == message
    assert list(read_for_torch(path, "x.*")) == ["fine.weight"]


def test_open_rejects_files_that_name_no_layers(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["w"] = kernel(3)
    assert error_of(tmp_path / "m.h5") == (
        "layout = 'torch' needs a Keras file that names its layers (layer_names)"
    )


@pytest.mark.parametrize("nested", [False, True])
def test_whole_models_state_the_classes_of_their_layers(tmp_path: Path, *, nested: bool) -> None:
    """A weight called "kernel" may belong to an unsupported class with other axes."""
    path = save_keras(tmp_path / "m.h5", {"up": {"up/kernel:0": kernel(3, 3, 1, 2)}})
    layers = [{"class_name": "EinsumDense", "config": {"name": "up"}}]
    with h5py.File(path, "a") as file:
        config = {"layers": layers} if nested else layers
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config})
    assert problem_of(error_of(path), count=1) == (
        f"layer 'up' (EinsumDense): layout = 'torch' does not support this class{ADVICE}"
    )
    layers[0]["class_name"] = "Conv2D"
    with h5py.File(path, "a") as file:
        config = {"layers": layers} if nested else layers
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config})
    assert read_for_torch(path)["up.weight"].shape == (2, 1, 3, 3)


def test_open_rejects_two_weights_with_one_name(tmp_path: Path) -> None:
    weights = {"a/kernel:0": kernel(2, 2), "b/kernel:0": kernel(2, 2)}
    assert error_of(save_keras(tmp_path / "m.h5", {"x": weights})) == (
        "layer 'x': two weights have the name 'kernel'"
    )


VECTOR, MATRIX = kernel(4), kernel(4, 6)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (
            {"x/gamma:0": VECTOR, "x/moving_mean:0": VECTOR + 1, "x/moving_variance:0": VECTOR + 2},
            {
                "x.weight": VECTOR,
                "x.bias": np.zeros(4, np.float32),
                "x.running_mean": VECTOR + 1,
                "x.running_var": VECTOR + 2,
            },
        ),
        (
            {"x/gamma:0": VECTOR, "x/beta:0": VECTOR + 1},
            {"x.weight": VECTOR, "x.bias": VECTOR + 1},
        ),
        ({"x/beta:0": VECTOR}, {"x.weight": np.ones(4, np.float32), "x.bias": VECTOR}),
        ({"x/embeddings:0": MATRIX}, {"x.weight": MATRIX}),
        ({"x/alpha:0": VECTOR.reshape(1, 1, 4)}, {"x.weight": VECTOR}),
        (
            {"x/depthwise_kernel:0": MATRIX.reshape(4, 3, 2), "x/bias:0": kernel(6) * 0},
            {
                "x.weight": MATRIX.reshape(4, 3, 2).transpose(1, 2, 0).reshape(6, 1, 4),
                "x.bias": np.zeros(6, np.float32),
            },
        ),
        (
            {
                "x/depthwise_kernel:0": MATRIX.reshape(2, 2, 6, 1),
                "x/pointwise_kernel:0": MATRIX.T.reshape(1, 1, 6, 4),
            },
            {
                "x.depthwise.weight": MATRIX.reshape(4, 6).T.reshape(6, 1, 2, 2),
                "x.pointwise.weight": MATRIX.reshape(4, 6, 1, 1),
            },
        ),
    ],
)
def test_infers_classes_from_names(tmp_path: Path, weights: State, expected: State) -> None:
    found = read_for_torch(save_keras(tmp_path / "m.h5", {"x": weights}))
    assert set(found) == set(expected)
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name])


def recurrent(gates: int, bias: tuple[int, ...], prefix: str = "x/cell") -> State:
    return {
        f"{prefix}/kernel:0": kernel(3, gates * 2),
        f"{prefix}/recurrent_kernel:0": kernel(2, gates * 2),
        f"{prefix}/bias:0": kernel(*bias, gates * 2),
    }


@pytest.mark.parametrize(
    ("gates", "bias", "order"), [(1, (), [0]), (3, (2,), [1, 0, 2]), (4, (), [0, 1, 2, 3])]
)
def test_infers_recurrent_classes_from_shapes(
    tmp_path: Path, gates: int, bias: tuple[int, ...], order: list[int]
) -> None:
    weights = recurrent(gates, bias)
    found = read_for_torch(save_keras(tmp_path / "m.h5", {"x": weights}))
    assert set(found) == {"x.weight_ih_l0", "x.weight_hh_l0", "x.bias_ih_l0", "x.bias_hh_l0"}
    ours, theirs = weights["x/cell/kernel:0"], found["x.weight_ih_l0"]
    for position, gate in enumerate(order):
        np.testing.assert_array_equal(theirs[2 * position :][:2], ours[:, 2 * gate :][:, :2].T)
    both = weights["x/cell/bias:0"].reshape(-1, gates, 2)[:, order].reshape(-1, gates * 2)
    np.testing.assert_array_equal(found["x.bias_ih_l0"], both[0])
    np.testing.assert_array_equal(found["x.bias_hh_l0"], both[1] if bias else both[0] * 0)


@pytest.mark.parametrize("layer", ["both", "backward_both"])
def test_infers_two_directions_from_names(tmp_path: Path, layer: str) -> None:
    weights = {
        name: array
        for direction in ("forward", "backward")
        for name, array in recurrent(4, (), f"{layer}/{direction}_lstm/lstm_cell_1").items()
    }
    found = read_for_torch(save_keras(tmp_path / "m.h5", {layer: weights}))
    assert len(found) == 8
    np.testing.assert_array_equal(
        found[f"{layer}.weight_hh_l0_reverse"],
        weights[f"{layer}/backward_lstm/lstm_cell_1/recurrent_kernel:0"].T,
    )


def test_a_layer_called_backward_is_not_bidirectional(tmp_path: Path) -> None:
    weights = recurrent(4, (), "backward_pass/lstm_cell")
    assert set(read_for_torch(save_keras(tmp_path / "m.h5", {"backward_pass": weights}))) == {
        f"backward_pass.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            recurrent(3, ()),
            f"(GRU): reset_after = False has no counterpart in torch{ADVICE}",
        ),
        (
            {n: a for n, a in recurrent(3, ()).items() if "bias" not in n},
            f"(GRU): reset_after = False has no counterpart in torch{ADVICE}",
        ),
        (
            recurrent(3, (3,)),
            f"(GRU): the shape (3, 6) of its weight 'bias' is not supported{ADVICE}",
        ),
        (
            {**recurrent(4, ()), "x/cell/bias:0": kernel(16)},
            f"(LSTM): the shape (16,) of its weight 'bias' is not supported{ADVICE}",
        ),
        (
            {**recurrent(4, ()), "x/cell/kernel:0": kernel(3, 6)},
            f"(LSTM): the shape (3, 6) of its weight 'kernel' is not supported{ADVICE}",
        ),
    ],
)
def test_open_rejects_recurrent_layers_that_torch_lacks(
    tmp_path: Path, weights: State, message: str
) -> None:
    path = save_keras(tmp_path / "m.h5", {"x": weights})
    assert problem_of(error_of(path), count=len(weights)) == f"layer 'x' {message}"


def test_open_rejects_recurrent_layers_with_two_gates(tmp_path: Path) -> None:
    path = save_keras(tmp_path / "m.h5", {"x": recurrent(2, ())})
    message = "layer 'x': no layer of torch has a kernel of the shape (2, 4)"
    assert problem_of(error_of(path), count=3) == message


def add_model(path: Path, layers: list[dict[str, Any]]) -> None:
    with h5py.File(path, "a") as file:
        config = {"class_name": "Model", "config": {"name": "m", "layers": layers}}
        file.attrs["model_config"] = json.dumps(config)


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, **config}}


def test_reads_nested_models_of_keras_2(tmp_path: Path) -> None:
    """Keras 2 left parent models out of weight names, and wrote a Sequential model as a list."""
    weights = {
        "a/kernel:0": kernel(2, 3),
        "a_1/kernel:0": kernel(3, 4),
        "b_2/cell/kernel:0": MATRIX,
    }
    path = save_keras(tmp_path / "m.h5", {"inner": weights})
    inner = [layer("Dense", "a"), layer("Dense", "a_1"), layer("Dense", "b_2")]
    add_model(path, [{"class_name": "Sequential", "name": "inner", "config": inner}])
    found = read_for_torch(path)
    assert set(found) == {"inner.a.weight", "inner.a_1.weight", "inner.b_2.weight"}
    np.testing.assert_array_equal(found["inner.a_1.weight"], weights["a_1/kernel:0"].T)
    add_model(path, [{"class_name": "Sequential", "name": "inner", "config": inner[:2]}])
    assert error_of(path) == "cannot find the layer of the weight 'b_2/cell/kernel:0' in the model"


def test_reads_bidirectional_layers_of_keras_2(tmp_path: Path) -> None:
    """Keras 2 left the backward layer out of the model's configuration."""
    weights = {
        name: array
        for direction in ("forward", "backward")
        for name, array in recurrent(3, (2,), f"both/{direction}_gru/gru_cell_1").items()
    }
    path = save_keras(tmp_path / "m.h5", {"both": weights})
    add_model(path, [layer("Bidirectional", "both", layer=layer("GRU", "gru", reset_after=True))])
    assert len(read_for_torch(path)) == 8
    other = layer("LSTM", "lstm")
    gru = layer("GRU", "gru", reset_after=True)
    add_model(path, [layer("Bidirectional", "both", layer=gru, backward_layer=other)])
    assert error_of(path) == "layer 'both': its two directions differ in class or options"


def test_reads_names_split_into_several_attributes(tmp_path: Path) -> None:
    """Keras splits a list of more than 64 KB."""
    path = save_keras(tmp_path / "m.h5", {"a": {"a/kernel:0": MATRIX}, "b": {"b/kernel:0": MATRIX}})
    with h5py.File(path, "a") as file:
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = [b"a"], [b"b"]
    assert set(read_for_torch(path)) == {"a.weight", "b.weight"}


def test_open_rejects_weights_of_the_model_itself(tmp_path: Path) -> None:
    path = save_keras(tmp_path / "m.h5", {"a": {"a/kernel:0": MATRIX}})
    with h5py.File(path, "a") as file:
        own = file.create_group("top_level_model_weights")
        own.attrs["weight_names"] = [b"scale"]
        own["scale"] = VECTOR
    message = error_of(path)
    assert message.startswith("tensor 'top_level_model_weights/scale': ")
    assert problem_of(message, count=1) == "layout = 'torch' finds no layer of this weight"
    assert list(read_for_torch(path, "top_level*")) == ["a.weight"]


def test_reads_a_legacy_layer_called_layers(tmp_path: Path) -> None:
    path = save_keras(tmp_path / "m.h5", {"layers": {"layers/kernel:0": MATRIX}})
    assert set(read_for_torch(path)) == {"layers.weight"}


def test_open_rejects_a_damaged_configuration(tmp_path: Path) -> None:
    path = save_keras(tmp_path / "m.h5", {"a": {"a/kernel:0": MATRIX}})
    add_model(path, [{"class_name": "Dense"}])
    assert error_of(path) == "the configuration of the model is damaged"
