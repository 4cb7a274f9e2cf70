"""The colour difference between two images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ImageCms, ImageFilter

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

BLUR_RADIUS = 2


def delta_e(image: Image.Image, other: Image.Image) -> float:
    """Return the mean colour difference (CIE76, the distance in CIELAB) of two blurred images.

    The blur of two pixels imitates an eye that looks at the picture and not at single pixels.
    """
    blur = ImageFilter.GaussianBlur(BLUR_RADIUS)
    difference = to_lab(image.filter(blur)) - to_lab(other.filter(blur))
    return float(np.sqrt(np.square(difference).sum(axis=-1)).mean())


def to_lab(image: Image.Image) -> NDArray[np.float64]:
    """Convert an sRGB image to CIELAB, with L* from 0 to 100, of shape (height, width, 3)."""
    profiles: list[Any] = [ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")]
    converted = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
    assert converted is not None
    values = np.asarray(converted).astype(np.float64)
    values[..., 0] *= 100 / 255
    # Pillow stores a* and b* as signed bytes.
    values[..., 1:] -= 256 * (values[..., 1:] > 127)
    return values
