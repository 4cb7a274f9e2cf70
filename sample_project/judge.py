"""The part of VGG19 that style transfer uses, as a function for `vggq tune`.

vggq tune weights/vgg19.h5 --layout torch --eval judge:features --size "15 MB" -o tuned
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

SAMPLE: Final = Path(__file__).resolve().parent
sys.path.insert(0, str(SAMPLE / "src"))

from vgg19_style.images import load_image  # noqa: E402 - needs the path
from vgg19_style.model import VGG19  # noqa: E402
from vgg19_style.transfer import CONTENT_LAYER, STYLE_LAYERS  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIZE: Final = 96


def features(weights: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return the feature maps of an image that the loss of style transfer is made of."""
    model = VGG19(weights).eval()
    with torch.inference_mode():
        found: dict[str, torch.Tensor] = model.activations(_image(), [*STYLE_LAYERS, CONTENT_LAYER])
    return found


@functools.cache
def _image() -> torch.Tensor:
    return load_image(str(SAMPLE / "images" / "harbour.jpg"), _SIZE)
