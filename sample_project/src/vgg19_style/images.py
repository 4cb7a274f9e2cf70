"""Image files to tensors and back."""

from __future__ import annotations

import secrets
from pathlib import Path

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor


class ImageError(Exception):
    """An image cannot be read or written; the message names it."""


def load(path: str, size: int) -> Tensor:
    """Read an image as RGB from 0 to 1, of shape (1, 3, height, width).

    Args:
        path: of a file in any format that Pillow reads; transparency is laid on white.
        size: the longer side in pixels; smaller images stay as they are.

    Raises:
        ImageError: there is no such file, or it is no image.

    """
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened).convert("RGBA")
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except (OSError, UnidentifiedImageError) as error:
        raise ImageError(f"{path} cannot be read as an image") from error
    white = Image.new("RGBA", upright.size, "white")
    image = Image.alpha_composite(white, upright).convert("RGB")
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    data = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return data.reshape(1, image.height, image.width, 3).permute(0, 3, 1, 2) / 255


def save(image: Tensor, path: str) -> None:
    """Write RGB from 0 to 1, of shape (1, 3, height, width); the suffix names the format.

    Raises:
        ImageError: the suffix is of no format that Pillow writes, or nothing can be written there.

    """
    pixels = (image[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    target = Path(path)
    temporary = target.with_name(f".{secrets.token_hex(4)}{target.suffix}")
    try:
        Image.fromarray(pixels).save(temporary)
        temporary.replace(target)
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
