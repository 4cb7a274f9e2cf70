"""Files written by Keras: read bit for bit, and converted so that torch computes the same."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from vggq.errors import SourceError
from vggq.packing.sources import ReadOptions, open_source

from .problems import problem_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]

pytestmark = [
    pytest.mark.torch,
    # Keras warns of its legacy format, and calls deprecated functions of torch.
    pytest.mark.filterwarnings("ignore"),
]

KINDS = ["m.keras", "m.h5"]
ADVICE = "; without `layout` the weights keep Keras's names and axes"


def read(path: Path, layout: str | None = None, *drop: str) -> State:
    with open_source(path, ReadOptions(layout, drop=drop)) as source:
        found = {tensor.name: tensor.read() for tensor in source.tensors}
        assert {t.name: t.shape for t in source.tensors} == {n: a.shape for n, a in found.items()}
    return found


def error_of(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read(path, "torch")
    assert caught.value.path == path
    return str(caught.value).removeprefix(f"{path}: ")


def randomize(model: Any) -> Any:
    """Give every weight random values; zeros and ones would hide weights that are swapped."""
    rng = np.random.default_rng(8)
    model.set_weights([rng.uniform(0.2, 1, weight.shape) for weight in model.get_weights()])
    return model


def sequential(keras: Any, shape: tuple[int | None, ...], *layers: Any) -> Any:
    return randomize(keras.Sequential([keras.Input(shape), *layers]))


def torch_state(path: Path) -> dict[str, Any]:
    import torch  # noqa: PLC0415

    return {name: torch.from_numpy(array) for name, array in read(path, "torch").items()}


def channels_first(values: Any) -> Any:
    return values.movedim(-1, 1)


def channels_last(values: Any) -> Any:
    return values.movedim(1, -1)


def unchanged(values: Any) -> Any:
    return values


def output_of(layer: Any, values: Any) -> Any:
    """Return the output; recurrent layers of torch return their state as well."""
    result = layer(values)
    return result[0] if isinstance(result, tuple) else result


Made = tuple["Any", "Any", tuple[int, ...], bool]


def convolutions(keras: Any, torch: Any) -> dict[str, Made]:
    """Return for each: Keras's layer, torch's, the input's shape, whether it has channels."""
    layers, nn = keras.layers, torch.nn
    return {
        "Conv1D": (layers.Conv1D(4, 3), nn.Conv1d(6, 4, 3), (9, 6), True),
        "Conv2D": (layers.Conv2D(4, (3, 2)), nn.Conv2d(6, 4, (3, 2)), (9, 8, 6), True),
        "Conv3D": (layers.Conv3D(4, (3, 2, 1)), nn.Conv3d(3, 4, (3, 2, 1)), (5, 6, 7, 3), True),
        "Conv1D in groups": (
            layers.Conv1D(4, 3, groups=2),
            nn.Conv1d(6, 4, 3, groups=2),
            (9, 6),
            True,
        ),
        "Conv2D in groups, no bias": (
            layers.Conv2D(6, 3, groups=3, use_bias=False),
            nn.Conv2d(6, 6, 3, groups=3, bias=False),
            (9, 8, 6),
            True,
        ),
        "DepthwiseConv1D": (
            layers.DepthwiseConv1D(3, depth_multiplier=2),
            nn.Conv1d(5, 10, 3, groups=5),
            (9, 5),
            True,
        ),
        "DepthwiseConv2D": (
            layers.DepthwiseConv2D((3, 2), depth_multiplier=3),
            nn.Conv2d(5, 15, (3, 2), groups=5),
            (9, 8, 5),
            True,
        ),
        "Conv1DTranspose": (
            layers.Conv1DTranspose(4, 3, strides=2),
            nn.ConvTranspose1d(6, 4, 3, 2),
            (9, 6),
            True,
        ),
        "Conv2DTranspose": (
            layers.Conv2DTranspose(4, (3, 2), strides=2),
            nn.ConvTranspose2d(6, 4, (3, 2), 2, output_padding=0),
            (5, 6, 6),
            True,
        ),
        "Conv3DTranspose": (
            layers.Conv3DTranspose(4, (3, 2, 4), strides=2),
            nn.ConvTranspose3d(3, 4, (3, 2, 4), 2),
            (4, 3, 5, 3),
            True,
        ),
        "SeparableConv1D": (
            layers.SeparableConv1D(4, 3, depth_multiplier=2),
            separable(torch, nn.Conv1d(5, 10, 3, groups=5, bias=False), nn.Conv1d(10, 4, 1)),
            (9, 5),
            True,
        ),
        "SeparableConv2D": (
            layers.SeparableConv2D(4, (3, 2), use_bias=False),
            separable(
                torch,
                nn.Conv2d(5, 5, (3, 2), groups=5, bias=False),
                nn.Conv2d(5, 4, 1, bias=False),
            ),
            (9, 8, 5),
            True,
        ),
    }


def separable(torch: Any, depthwise: Any, pointwise: Any) -> Any:
    from collections import OrderedDict  # noqa: PLC0415

    return torch.nn.Sequential(OrderedDict(depthwise=depthwise, pointwise=pointwise))


def others(keras: Any, torch: Any) -> dict[str, Made]:
    layers, nn = keras.layers, torch.nn
    return {
        "Dense": (layers.Dense(4), nn.Linear(6, 4), (3, 6), False),
        "Dense without a bias": (
            layers.Dense(4, use_bias=False),
            nn.Linear(6, 4, bias=False),
            (6,),
            False,
        ),
        "TimeDistributed": (
            layers.TimeDistributed(layers.Dense(4)),
            nn.Linear(6, 4),
            (3, 6),
            False,
        ),
        "PReLU, one for all": (layers.PReLU(shared_axes=[1, 2]), nn.PReLU(), (7, 1), True),
        "PReLU, one a channel": (layers.PReLU(shared_axes=[1]), nn.PReLU(6), (7, 6), True),
        "BatchNormalization": (
            layers.BatchNormalization(),
            nn.BatchNorm2d(6, eps=1e-3),
            (4, 5, 6),
            True,
        ),
        "BatchNormalization without a scale": (
            layers.BatchNormalization(scale=False),
            nn.BatchNorm1d(6, eps=1e-3),
            (4, 6),
            True,
        ),
        "BatchNormalization without an offset": (
            layers.BatchNormalization(center=False),
            nn.BatchNorm1d(6, eps=1e-3),
            (6,),
            False,
        ),
        "BatchNormalization without either": (
            layers.BatchNormalization(center=False, scale=False),
            nn.BatchNorm1d(6, eps=1e-3, affine=False),
            (6,),
            False,
        ),
        "LayerNormalization": (
            layers.LayerNormalization(),
            nn.LayerNorm(6, eps=1e-3),
            (4, 6),
            False,
        ),
        "LayerNormalization over two axes, without a scale": (
            layers.LayerNormalization(axis=[1, 2], scale=False),
            nn.LayerNorm((4, 6), eps=1e-3),
            (4, 6),
            False,
        ),
        "RMSNormalization": (
            layers.RMSNormalization(epsilon=1e-6),
            nn.RMSNorm(6, eps=1e-6),
            (4, 6),
            False,
        ),
        "GroupNormalization": (
            layers.GroupNormalization(3),
            nn.GroupNorm(3, 6, eps=1e-3),
            (4, 5, 6),
            True,
        ),
        "GroupNormalization without an offset": (
            layers.GroupNormalization(3, center=False),
            nn.GroupNorm(3, 6, eps=1e-3),
            (5, 6),
            True,
        ),
    }


def recurrent(keras: Any, torch: Any) -> dict[str, Made]:
    layers, nn = keras.layers, torch.nn
    made: dict[str, Made] = {}
    for name, ours, theirs in (
        ("LSTM", layers.LSTM, nn.LSTM),
        ("GRU", layers.GRU, nn.GRU),
        ("SimpleRNN", layers.SimpleRNN, nn.RNN),
    ):
        for bias in (True, False):
            one = ours(4, return_sequences=True, use_bias=bias, dropout=0.2)
            made[f"{name}, {bias}"] = (
                one,
                theirs(6, 4, batch_first=True, bias=bias),
                (5, 6),
                False,
            )
            both = layers.Bidirectional(ours(4, return_sequences=True, use_bias=bias))
            made[f"Bidirectional {name}, {bias}"] = (
                both,
                theirs(6, 4, batch_first=True, bias=bias, bidirectional=True),
                (5, 6),
                False,
            )
    relu = layers.SimpleRNN(4, activation="relu", return_sequences=True)
    made["SimpleRNN of relu"] = (
        relu,
        nn.RNN(6, 4, nonlinearity="relu", batch_first=True),
        (5, 6),
        False,
    )
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", [convolutions, others, recurrent])
def test_torch_computes_what_keras_does(
    keras: Any, tmp_path: Path, family: Callable[[Any, Any], dict[str, Made]], kind: str
) -> None:
    import torch  # noqa: PLC0415

    torch.manual_seed(3)
    for label, (ours, theirs, shape, has_channels) in family(keras, torch).items():
        model = sequential(keras, shape, ours)
        path = tmp_path / kind
        model.save(path)
        state = torch_state(path)
        prefix = f"{model.layers[0].name}."
        assert all(name.startswith(prefix) for name in state)
        theirs.load_state_dict({n.removeprefix(prefix): t for n, t in state.items()}, strict=True)
        x = torch.randn(2, *shape)
        into, out_of = (channels_first, channels_last) if has_channels else (unchanged, unchanged)
        with torch.no_grad():
            got = out_of(output_of(theirs.eval(), into(x)))
            expected = model(x.to(model.weights[0].value.device), training=False).cpu()
        assert got.shape == expected.shape, label
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4, msg=label)


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_give_the_same_in_torch(keras: Any, tmp_path: Path, kind: str) -> None:
    import torch  # noqa: PLC0415

    model = sequential(keras, (7,), keras.layers.Embedding(10, 4, name="embedding"))
    model.save(tmp_path / kind)
    theirs = torch.nn.Embedding(10, 4)
    theirs.load_state_dict({"weight": torch_state(tmp_path / kind)["embedding.weight"]})
    x = torch.randint(10, (2, 7))
    torch.testing.assert_close(theirs(x), model(x).cpu())


def nested(keras: Any) -> Any:
    """Make models nested three deep, with two layers of one class, and unusual names."""
    layers = keras.layers
    inner = keras.Sequential(
        [keras.Input((6,)), layers.Dense(5, name="dé"), layers.Dropout(0.3), layers.Dense(4)],
        name="inner",
    )
    middle = keras.Sequential(
        [keras.Input((6,)), layers.Dense(6, name="dé"), inner, layers.BatchNormalization()],
        name="middle",
    )
    x = keras.Input((6,))
    y = layers.Dense(3, name="one more")(middle(layers.GaussianNoise(0.1)(x)) + 1)
    model = keras.Model(x, layers.Dense(2, name="out")(layers.Activation("tanh")(y)))
    return randomize(model)


def read_with_h5py(path: Path) -> State:
    """Return all datasets of a file by their paths."""
    found: State = {}
    archive = path.suffix == ".keras"
    content = zipfile.ZipFile(path).read("model.weights.h5") if archive else path.read_bytes()
    with h5py.File(io.BytesIO(content)) as file:

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                found[name] = item[()]

        file.visititems(visit)
    return found


@pytest.mark.parametrize("kind", ["m.keras", "m.weights.h5", "m.h5"])
def test_without_layout_every_bit_is_kerass(keras: Any, tmp_path: Path, kind: str) -> None:
    model = nested(keras)
    path = tmp_path / kind
    (model.save_weights if kind == "m.weights.h5" else model.save)(path)
    found = read(path)
    expected = read_with_h5py(path)
    assert {n: a.tobytes() for n, a in found.items()} == {
        n: a.tobytes() for n, a in expected.items()
    }
    weights = [np.ascontiguousarray(weight).tobytes() for weight in model.get_weights()]
    assert sorted(array.tobytes() for array in found.values()) == sorted(weights)


@pytest.mark.parametrize("kind", KINDS)
def test_reads_nested_models(keras: Any, tmp_path: Path, kind: str) -> None:
    model = nested(keras)
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.ones((4, 6)), np.ones((4, 2)), verbose=0)
    model.save(tmp_path / kind)
    found = read(tmp_path / kind, "torch")
    middle, inner = model.get_layer("middle"), model.get_layer("middle").get_layer("inner")
    expected = {
        f"{prefix}{layer.name}.{name}": weight.T
        for prefix, parent in (("", model), ("middle.", middle), ("middle.inner.", inner))
        for layer in parent.layers
        if type(layer).__name__ in ("Dense", "BatchNormalization")
        for name, weight in zip(
            ("weight", "bias", "running_mean", "running_var"), layer.get_weights(), strict=False
        )
    }
    assert len(expected) == 14
    assert set(found) == set(expected)
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name])


def test_reads_weights_of_two_bytes(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(4, dtype="bfloat16"), layers.Dense(3, dtype="float16")]
    )
    model.save(tmp_path / "m.keras")
    with open_source(tmp_path / "m.keras", ReadOptions("torch")) as source:
        dtypes = {tensor.name: tensor.dtype for tensor in source.tensors}
        assert list(dtypes.values()) == ["BF16", "BF16", "F16", "F16"]
        weight = next(t for t in source.tensors if t.name.endswith("weight")).read()
    kernel = model.layers[0].kernel.value.detach().float().cpu().numpy()
    np.testing.assert_array_equal((weight.astype(np.uint32) << 16).view(np.float32), kernel.T)


def test_open_rejects_weights_files_of_keras_3_with_advice(keras: Any, tmp_path: Path) -> None:
    nested(keras).save_weights(tmp_path / "m.weights.h5")
    assert error_of(tmp_path / "m.weights.h5") == (
        "a weights file of Keras 3 does not describe its layers, as layout = 'torch' needs; "
        "save the whole model instead: model.save('model.keras')"
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (
            lambda layers: layers.GRU(3, reset_after=False, name="x"),
            (5, 4),
            "(GRU): reset_after = False has no counterpart in torch",
        ),
        (
            lambda layers: layers.LSTM(3, recurrent_activation="hard_sigmoid", name="x"),
            (5, 4),
            "(LSTM): recurrent_activation = 'hard_sigmoid' has no counterpart in torch",
        ),
        (
            lambda layers: layers.EinsumDense("ab,bc->ac", 3, name="x"),
            (4,),
            "(EinsumDense): layout = 'torch' does not support this class",
        ),
        (
            lambda layers: layers.PReLU(name="x"),
            (5, 4),
            "(PReLU): the shape (5, 4) of its weight 'alpha' is not supported",
        ),
    ],
)
def test_open_rejects_layers_that_torch_lacks(
    keras: Any, tmp_path: Path, make: Any, shape: tuple[int, ...], message: str, kind: str
) -> None:
    path = tmp_path / kind
    sequential(keras, shape, keras.layers.Dropout(0.1), make(keras.layers)).save(path)
    assert problem_of(error_of(path)) == f"layer 'x' {message}{ADVICE}"
    assert read(path)


def test_open_rejects_norms_over_other_axes(keras: Any, tmp_path: Path) -> None:
    norm = keras.layers.LayerNormalization(axis=1, name="x")
    sequential(keras, (5, 4), norm).save(tmp_path / "m.keras")
    assert problem_of(error_of(tmp_path / "m.keras")) == (
        "layer 'x' (LayerNormalization): normalizes the axes [1], but torch normalizes only the "
        f"last axes{ADVICE}"
    )


def test_open_rejects_attention_by_name(keras: Any, tmp_path: Path) -> None:
    x = keras.Input((5, 4))
    y = keras.layers.MultiHeadAttention(2, 3, name="attend")(x, x)
    model = keras.Model(x, keras.layers.Dense(3)(y))
    model.save(tmp_path / "m.keras")
    model.save(tmp_path / "m.h5")
    message = (
        f"layer 'attend' (MultiHeadAttention): layout = 'torch' does not support this class{ADVICE}"
    )
    for kind in KINDS:
        path = tmp_path / kind
        assert problem_of(error_of(path)) == message
        others = {name for name in read(path, "torch", "attend.*") if "attend" not in name}
        assert {name.rpartition(".")[2] for name in others} == {"weight", "bias"}


def test_open_rejects_custom_layers_by_name(keras: Any, tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable("mine")
    class Dense(keras.layers.Dense):  # type: ignore[misc]
        pass

    path = tmp_path / "m.keras"
    sequential(keras, (4,), keras.layers.Dense(2, name="fine"), Dense(3, name="odd")).save(path)
    message = f"layer 'odd' (mine>Dense): layout = 'torch' does not support this class{ADVICE}"
    assert problem_of(error_of(path), count=2) == message
    assert set(read(path, "torch", "odd.*")) == {"fine.weight", "fine.bias"}


def test_open_rejects_custom_models_by_name(keras: Any, tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable("mine")
    class Model(keras.Model):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.dense = keras.layers.Dense(3)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Model()
    model(np.ones((2, 4)))
    model.save(tmp_path / "m.keras")
    message = "the model is a mine>Model, which does not describe its layers"
    assert error_of(tmp_path / "m.keras") == message


def test_open_rejects_layers_that_two_models_share(keras: Any, tmp_path: Path) -> None:
    shared = keras.layers.Dense(4, name="shared")
    parts = [keras.Sequential([keras.Input((4,)), shared], name=name) for name in ("a", "b")]
    x = keras.Input((4,))
    randomize(keras.Model(x, parts[1](parts[0](x)))).save(tmp_path / "m.keras")
    assert error_of(tmp_path / "m.keras") == (
        "layer 'b': its weights are not at its place in the file; of a layer that two models "
        "share, Keras stores the weights in one of them only"
    )


def test_layers_without_names_are_matched_by_order(keras: Any, tmp_path: Path) -> None:
    """Keras before 3.3 wrote no names."""
    model = nested(keras)
    path = tmp_path / "m.keras"
    model.save(path)
    expected = read(path, "torch")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    weights = tmp_path / "m.weights.h5"
    weights.write_bytes(members["model.weights.h5"])
    with h5py.File(weights, "a") as file:
        groups: list[Any] = []
        file.visititems(lambda _, item: groups.append(item) if item.attrs else None)
        for group in groups:
            del group.attrs["name"]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", members["config.json"])
        archive.write(weights, "model.weights.h5")
    found = read(path, "torch")
    assert {n: a.tobytes() for n, a in found.items()} == {
        n: a.tobytes() for n, a in expected.items()
    }


def test_open_rejects_the_configuration_of_another_model(keras: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    sequential(keras, (4,), keras.layers.Dense(2, name="a")).save(path)
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        weights = archive.read("model.weights.h5")
    layer = config["config"]["layers"][1]
    for change, message in (
        ({"use_bias": False}, f"layer 'a' (Dense): expected 1 weights, found 2{ADVICE}"),
        ({"name": "b"}, "the file has weights of layers that the model lacks: ['a']"),
    ):
        layer["config"] = {**layer["config"], **change}
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", json.dumps(config))
            archive.writestr("model.weights.h5", weights)
        assert error_of(path) == message
