"""The sample's experiment: what it measures, how it judges, and the wheels that it builds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from vggq.packing import pack

from .test_sample import SHAPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.Image import Image

pytestmark = pytest.mark.torch

SAMPLE = Path(__file__).resolve().parents[1] / "sample_project"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SAMPLE / "src")
    monkeypatch.syspath_prepend(SAMPLE)


def plain(colour: tuple[int, int, int]) -> Image:
    from PIL import Image  # noqa: PLC0415

    return Image.new("RGB", (8, 6), colour)


def test_colours_are_as_far_apart_as_cielab_says() -> None:
    from colour import delta_e, lab  # noqa: PLC0415

    black, white, red = plain((0, 0, 0)), plain((255, 255, 255)), plain((255, 0, 0))
    assert delta_e(red, red) == 0
    assert delta_e(black, white) == pytest.approx(100, abs=0.5)
    # sRGB's red under D50, as a profile connects it.
    np.testing.assert_allclose(lab(red)[0, 0], [54.3, 80.8, 69.9], atol=1)
    assert lab(plain((0, 0, 255)))[0, 0, 2] < -100


def test_what_is_further_off_and_worse_than_every_control_has_changed() -> None:
    from experiment import findings  # noqa: PLC0415
    from painting import PAIRS, Painted  # noqa: PLC0415

    def painted(way: str, start: int, distance: float, loss: float) -> Painted:
        return Painted(PAIRS[0], way, start, 10**6, 30.0, distance, loss)

    controls = [painted("32 bits", 1, 4, 1.02), painted("32 bits", 2, 5, 0.99)]
    found = [
        painted("32 bits", 0, 0, 1),
        painted("8 bits", 0, 6, 1.01),
        painted("7 bits", 0, 4.5, 1.03),
        painted("6 bits", 0, 5.1, 1.03),
    ]
    others = [Painted(PAIRS[1], "32 bits", 1, 1, None, 3.0, 1.0)]
    first, second = findings([*controls, *found, *others])
    assert first == (
        "harbour in currents: 2 other starts are 4.0 to 5.0 away, their losses up to 1.02; "
        "visibly changed: 6 bits"
    )
    assert second.endswith("visibly changed: none")


def save_keras(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    """Random weights of torch's names and shapes, as Keras lays them out."""
    rng = np.random.default_rng(0)
    layers = dict.fromkeys(name.rpartition(".")[0] for name in shapes)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer in layers:
            out, channels, high, wide = shapes[f"{layer}.weight"]
            group = file.create_group(layer)
            kernel = rng.standard_normal((high, wide, channels, out), np.float32)
            group["kernel"] = kernel * np.float32((2 / (channels * high * wide)) ** 0.5)
            group["bias"] = np.zeros(out, np.float32)
            group.attrs["weight_names"] = [b"kernel", b"bias"]
    return path


@pytest.mark.parametrize("options", [{"bits": 3}, {"size": 9000}])
def test_a_wheel_has_what_its_options_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    import wheels  # noqa: PLC0415

    folder = tmp_path / "weights"
    folder.mkdir()
    shapes = {"block1_conv1.weight": (64, 30, 3, 3), "block1_conv1.bias": (64,)}
    source = save_keras(folder / "vgg19.h5", shapes)
    monkeypatch.setattr(wheels, "WEIGHTS", source)
    wheel = wheels.build_wheel(options)
    expected = pack(source, tmp_path / "w.vggq", layout="torch", **options)
    assert wheel.packed == expected.target.read_bytes()
    assert wheel.size > expected.size
    assert list(wheel.open()) == list(shapes)[::-1]


def test_a_build_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wheels  # noqa: PLC0415

    monkeypatch.setattr(wheels, "WEIGHTS", tmp_path / "weights" / "vgg19.h5")
    with pytest.raises(RuntimeError, match=r"bits: expected an integer from 1 to 8, found 9"):
        wheels.build_wheel({"bits": 9})


def test_every_wheel_paints_both_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a random network to the grids, by way of one packed file."""
    import experiment  # noqa: PLC0415
    import painting  # noqa: PLC0415
    import wheels  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    source = save_keras(tmp_path / "vgg19.h5", SHAPES)
    packed = pack(source, tmp_path / "w.vggq", layout="torch", bits=1).target.read_bytes()
    for module in (experiment, painting):
        monkeypatch.setattr(module, "WEIGHTS", source)
    monkeypatch.setattr(experiment, "build_wheel", lambda _: wheels.Wheel(2_500_000, packed))
    monkeypatch.setattr(painting, "CONTROLS", 1)
    out = tmp_path / "out"
    assert experiment.main([str(out), "--size", "32", "--steps", "2"]) == 0
    said = capsys.readouterr().out
    assert "harbour in currents: 8 bits, wheel 2.5 MB; SQNR " in said
    assert "currents in harbour: as 2 bits, wheel 2.5 MB; SQNR " in said
    grids = sorted(path.name for path in out.glob("*.jpg"))
    assert grids == [
        "bits-currents.jpg", "bits-harbour.jpg", "size-currents.jpg", "size-harbour.jpg"
    ]  # fmt: skip
    # Ten images of 32 by 24, and five.
    for kind, rows in (("bits", 2), ("size", 1)):
        with Image.open(out / f"{kind}-harbour.jpg") as image:
            assert image.size == (5 * 42 + 10, rows * (24 + 4 + 3 * 17 + 10) + 10)
    figures = json.loads((out / "figures.json").read_text())
    assert len(figures) == 2 * (2 + 8 + 4)
