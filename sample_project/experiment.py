"""The idea's first experiment, whole: style transfer with VGG19 at 32 bits and at 8 down to 1.

    python sample_project/experiment.py [OUT] [--size 160] [--steps 40]

Each width is packed and restored as a build would, and paints two pairs of content and style with
the same start and the same steps. OUT (`sample_project/experiment` by default) gets the images, a
grid of each pair, and the figures as `figures.json`.

Two measures are taken of each image. ΔE is its mean colour difference (CIE76) from the image of the
float32 weights, both blurred by two pixels, as an eye does that looks at the picture and not at its
pixels. The loss is what the float32 network says of it, against what it says of its own image: how
well it is painted, whichever way the strokes fell.

An optimizer magnifies any change of its start, so there is a control: float32 weights, and a start
that differs by no more than rounding to grey levels would. What is no further off than the control
has not changed because of quantization.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

SAMPLE = Path(__file__).resolve().parent
sys.path[:0] = [str(SAMPLE), str(SAMPLE / "src")]

import torch  # noqa: E402 - the sample is found only now
from grid import draw_grid  # noqa: E402
from PIL import Image, ImageCms, ImageFilter  # noqa: E402
from vgg19_style import images  # noqa: E402
from vgg19_style.model import VGG19  # noqa: E402
from vgg19_style.transfer import objective, transfer  # noqa: E402

import vggq  # noqa: E402
from vggq.encode import pack  # noqa: E402
from vggq.sources import Reading, open_source  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    State = dict[str, NDArray[np.float32]]

WEIGHTS = SAMPLE / "weights" / "vgg19.h5"
# A content and a style; each is the other's as well.
PAIRS = (("harbour", "currents"), ("currents", "harbour"))
# The ways to pack it, a grid each: the options of every image.
GRIDS: dict[str, list[dict[str, Any]]] = {"bits": [{"bits": bits} for bits in range(8, 0, -1)]}
HALF_A_LEVEL = 0.5 / 255
BLUR = 2


@dataclass(frozen=True, slots=True)
class Painted:
    """One image of a grid: how its weights were packed, and how far off it is.

    Attributes:
        pair: content and style.
        options: of packing; nothing for the float32 weights.
        control: whether its start was another.
        size: bytes of the weights, packed or not.
        sqnr: of the weights in dB; None for the float32 ones.
        delta_e: mean colour difference from the image of the float32 weights.
        loss: of the float32 network over this image, in units of that over its own.

    """

    pair: tuple[str, str]
    options: dict[str, Any]
    control: bool
    size: int
    sqnr: float | None
    delta_e: float
    loss: float

    @property
    def caption(self) -> tuple[str, ...]:
        """Three lines."""
        size = f"{self.size / 1e6:.1f} MB"
        measures = f"ΔE {self.delta_e:.1f}, loss {self.loss:.2f}"
        if self.sqnr is None:
            start = "another start" if self.control else "the same start"
            return f"32 bits, {size}", f"exact, {start}", measures
        way = ", ".join(f"{value} {key}" for key, value in self.options.items())
        way = "1 bit" if way == "1 bits" else way
        return f"{way}, {size}", f"SQNR {self.sqnr:.1f} dB", measures


def main(argv: list[str] | None = None) -> int:
    """Paint, draw the grids, and print the figures."""
    arguments = _parser().parse_args(argv)
    if not WEIGHTS.exists():
        print(f"{WEIGHTS} is not there: python sample_project/fetch_weights.py", file=sys.stderr)
        return 1
    begin = time.monotonic()
    arguments.out.mkdir(parents=True, exist_ok=True)
    figures = []
    for name, variants in GRIDS.items():
        found = list(paint_all(variants, arguments.size, arguments.steps))
        for pair in PAIRS:
            cells = [(p.caption, image) for p, image in found if p.pair == pair]
            draw_grid(cells, arguments.out / f"{name}-{pair[0]}.png")
            for number, (_, image) in enumerate(cells):
                image.save(arguments.out / f"{name}-{pair[0]}-{number}.png")
        figures += [asdict(painted) for painted, _ in found]
    (arguments.out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(f"{arguments.out}: {len(figures)} images in {time.monotonic() - begin:.0f} s")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Style transfer at every width, side by side.")
    parser.add_argument("out", nargs="?", type=Path, default=SAMPLE / "experiment", metavar="OUT")
    parser.add_argument("--size", type=int, default=160, help="longer side in pixels (160)")
    parser.add_argument("--steps", type=int, default=40, help="evaluations of the loss (40)")
    return parser


def paint_all(
    variants: list[dict[str, Any]], size: int, steps: int
) -> Iterator[tuple[Painted, Image.Image]]:
    """Every pair with the float32 weights, as a control, and with every variant."""
    with open_source(WEIGHTS, Reading("torch")) as source:
        state = {tensor.name: tensor.read() for tensor in source.tensors}
    model = VGG19(state, pooling="avg")
    raw = sum(array.nbytes for array in state.values())
    judges = {pair: Judge(model, pair, size, steps) for pair in PAIRS}
    for pair, judge in judges.items():
        yield show(Painted(pair, {}, False, raw, None, *judge.measure(judge.image))), judge.image
        image = paint(model, pair, size, steps, jitter=HALF_A_LEVEL)
        yield show(Painted(pair, {}, True, raw, None, *judge.measure(image))), image
    for options in variants:
        other, packed_size, sqnr = restored(options)
        for pair, judge in judges.items():
            image = paint(other, pair, size, steps)
            measures = judge.measure(image)
            yield show(Painted(pair, options, False, packed_size, sqnr, *measures)), image


class Judge:
    """What the float32 network paints of a pair, and how far other images are from it.

    Attributes:
        image: that image.

    """

    def __init__(self, model: VGG19, pair: tuple[str, str], size: int, steps: int) -> None:
        self.image = paint(model, pair, size, steps)
        self._loss_of = objective(model, *load_pair(pair, size))

    def measure(self, image: Image.Image) -> tuple[float, float]:
        """ΔE, and the loss in units of that of the float32 network's own image."""
        with torch.no_grad():
            loss, least = (self._loss_of(to_tensor(one)).item() for one in (image, self.image))
        return delta_e(image, self.image), loss / least


def show(painted: Painted) -> Painted:
    print(f"{' in '.join(painted.pair)}: {'; '.join(painted.caption)}", flush=True)
    return painted


def restored(options: dict[str, Any]) -> tuple[VGG19, int, float]:
    """VGG19 from a packed file, the file's size in bytes, and its SQNR in dB."""
    with tempfile.TemporaryDirectory() as folder:
        packed = pack(WEIGHTS, Path(folder, "vgg19.vggq"), layout="torch", **options)
        return VGG19(vggq.load(packed.target), pooling="avg"), packed.size, packed.manifest.sqnr


def paint(
    model: VGG19, pair: tuple[str, str], size: int, steps: int, jitter: float = 0.0
) -> Image.Image:
    """The first image in the style of the second."""
    content, style = load_pair(pair, size)
    noise = torch.rand(content.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return to_image(transfer(model, content + jitter * noise, style, steps=steps))


def load_pair(pair: tuple[str, str], size: int) -> tuple[Tensor, Tensor]:
    """Content and style, RGB from 0 to 1, of shape (1, 3, height, width)."""
    content, style = (images.load(str(SAMPLE / "images" / f"{name}.jpg"), size) for name in pair)
    return content, style


def to_tensor(image: Image.Image) -> Tensor:
    """8-bit pixels as RGB from 0 to 1, of shape (1, 3, height, width)."""
    data = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return data.reshape(1, image.height, image.width, 3).permute(0, 3, 1, 2) / 255


def to_image(image: Tensor) -> Image.Image:
    """RGB from 0 to 1, of shape (1, 3, height, width), as 8-bit pixels."""
    pixels = (image[0].permute(1, 2, 0) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.numpy())


def delta_e(image: Image.Image, other: Image.Image) -> float:
    """The mean distance of their pixels in CIELAB, once both are blurred."""
    blur = ImageFilter.GaussianBlur(BLUR)
    difference = lab(image.filter(blur)) - lab(other.filter(blur))
    return float(difference.square().sum(-1).sqrt().mean())


def lab(image: Image.Image) -> Tensor:
    """L* from 0 to 100, a* and b*: of shape (height, width, 3)."""
    profiles: list[Any] = [ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")]
    converted = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
    assert converted is not None
    data = torch.frombuffer(bytearray(converted.tobytes()), dtype=torch.uint8)
    values = data.reshape(image.height, image.width, 3)
    # Pillow keeps a* and b* as signed bytes.
    return torch.cat([values[..., :1] * (100 / 255), values[..., 1:].view(torch.int8)], -1)


if __name__ == "__main__":
    sys.exit(main())
