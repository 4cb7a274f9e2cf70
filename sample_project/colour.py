"""How far apart two images are to the eye."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ImageCms, ImageFilter

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

BLUR = 2


def delta_e(image: Image.Image, other: Image.Image) -> float:
    """The mean distance of their pixels in CIELAB (CIE76), once both are blurred by two pixels.

    That is what an eye does that looks at the picture and not at its pixels.
    """
    blur = ImageFilter.GaussianBlur(BLUR)
    difference = lab(image.filter(blur)) - lab(other.filter(blur))
    return float(np.sqrt(np.square(difference).sum(axis=-1)).mean())


def lab(image: Image.Image) -> NDArray[np.float64]:
    """L* from 0 to 100, a* and b*: of shape (height, width, 3)."""
    profiles: list[Any] = [ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")]
    converted = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
    assert converted is not None
    found = np.asarray(converted).astype(np.float64)
    found[..., 0] *= 100 / 255
    # Pillow keeps a* and b* as signed bytes.
    found[..., 1:] -= 256 * (found[..., 1:] > 127)
    return found
