"""The experiment of the sample project: its measures, its summary, and the wheels it builds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from vggq.packing import pack

from .test_sample import VGG19_SHAPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.Image import Image

pytestmark = pytest.mark.torch

SAMPLE = Path(__file__).resolve().parents[1] / "sample_project"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SAMPLE / "src")
    monkeypatch.syspath_prepend(SAMPLE)


def make_image(colour: tuple[int, int, int]) -> Image:
    from PIL import Image  # noqa: PLC0415

    return Image.new("RGB", (8, 6), colour)


def test_delta_e_is_the_distance_in_cielab() -> None:
    from colour import delta_e, to_lab  # noqa: PLC0415

    black, white, red = map(make_image, ((0, 0, 0), (255, 255, 255), (255, 0, 0)))
    assert delta_e(red, red) == 0
    assert delta_e(black, white) == pytest.approx(100, abs=0.5)
    # The red of sRGB under D50, the white point of ICC profiles.
    np.testing.assert_allclose(to_lab(red)[0, 0], [54.3, 80.8, 69.9], atol=1)
    assert to_lab(make_image((0, 0, 255)))[0, 0, 2] < -100


def test_summary_lists_images_with_more_distance_and_loss_than_every_control() -> None:
    from experiment import summarize  # noqa: PLC0415
    from painting import PAIRS, Painted  # noqa: PLC0415

    def painted(setting: str, start: int, distance: float, loss: float) -> Painted:
        return Painted(PAIRS[0], setting, start, 10**6, 30.0, distance, loss)

    controls = [painted("32 bits", 1, 4, 1.02), painted("32 bits", 2, 5, 0.99)]
    images = [
        painted("32 bits", 0, 0, 1),
        painted("8 bits", 0, 6, 1.01),
        painted("7 bits", 0, 4.5, 1.03),
        painted("6 bits", 0, 5.1, 1.03),
    ]
    other_pair = [Painted(PAIRS[1], "32 bits", 1, 1, None, 3.0, 1.0)]
    first, second = summarize([*controls, *images, *other_pair])
    assert first == (
        "harbour in currents: 2 controls, distances 4.0 to 5.0, losses up to 1.02; "
        "visibly changed: 6 bits"
    )
    assert second.endswith("visibly changed: none")


def save_legacy_keras(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    """Write random weights as a Keras HDF5 file; `shapes` has the names and shapes of torch."""
    rng = np.random.default_rng(0)
    layers = dict.fromkeys(name.rpartition(".")[0] for name in shapes)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer in layers:
            out, channels, height, width = shapes[f"{layer}.weight"]
            group = file.create_group(layer)
            kernel = rng.standard_normal((height, width, channels, out), np.float32)
            group["kernel"] = kernel * np.float32((2 / (channels * height * width)) ** 0.5)
            group["bias"] = np.zeros(out, np.float32)
            group.attrs["weight_names"] = [b"kernel", b"bias"]
    return path


@pytest.mark.parametrize("options", [{"bits": 3}, {"size": 9000}])
def test_wheel_contains_the_file_packed_with_its_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    import wheels  # noqa: PLC0415

    folder = tmp_path / "weights"
    folder.mkdir()
    shapes = {"block1_conv1.weight": (64, 30, 3, 3), "block1_conv1.bias": (64,)}
    source = save_legacy_keras(folder / "vgg19.h5", shapes)
    monkeypatch.setattr(wheels, "WEIGHTS", source)
    wheel = wheels.build_wheel(options)
    expected = pack(source, tmp_path / "w.vggq", layout="torch", **options)
    assert wheel.packed == expected.target.read_bytes()
    assert wheel.size > expected.size
    assert list(wheel.open()) == list(shapes)[::-1]


def test_failed_build_raises_its_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wheels  # noqa: PLC0415

    monkeypatch.setattr(wheels, "WEIGHTS", tmp_path / "weights" / "vgg19.h5")
    with pytest.raises(RuntimeError, match=r"bits: expected an integer from 1 to 8, found 9"):
        wheels.build_wheel({"bits": 9})


def test_experiment_paints_both_pairs_with_every_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run the whole experiment on random weights, with one packed file for all wheels."""
    import experiment  # noqa: PLC0415
    import painting  # noqa: PLC0415
    import wheels  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    source = save_legacy_keras(tmp_path / "vgg19.h5", VGG19_SHAPES)
    packed = pack(source, tmp_path / "w.vggq", layout="torch", bits=1).target.read_bytes()
    for module in (experiment, painting):
        monkeypatch.setattr(module, "WEIGHTS", source)
    monkeypatch.setattr(experiment, "build_wheel", lambda _: wheels.Wheel(2_500_000, packed))
    out = tmp_path / "out"
    assert experiment.main([str(out), "--size", "32", "--steps", "2", "--controls", "1"]) == 0
    output = capsys.readouterr().out
    assert "harbour in currents: 8 bits, wheel 2.5 MB; SQNR " in output
    assert "currents in harbour: as 2 bits, wheel 2.5 MB; SQNR " in output
    grids = sorted(path.name for path in out.glob("*.jpg"))
    assert grids == [
        "bits-currents.jpg", "bits-harbour.jpg", "size-currents.jpg", "size-harbour.jpg"
    ]  # fmt: skip
    # Ten images of 32 by 24 pixels in the grid "bits", five in the grid "size".
    for grid, rows in (("bits", 2), ("size", 1)):
        with Image.open(out / f"{grid}-harbour.jpg") as image:
            assert image.size == (5 * 42 + 10, rows * (24 + 4 + 3 * 17 + 10) + 10)
    figures = json.loads((out / "figures.json").read_text())
    assert len(figures) == 2 * (2 + 8 + 4)
