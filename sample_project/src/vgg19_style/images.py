"""Conversion between image files, images and tensors."""

from __future__ import annotations

import secrets
from pathlib import Path

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor


class ImageError(Exception):
    """An image file cannot be read or written; the message begins with its path."""


def load_image(path: str, size: int) -> Tensor:
    """Read an image file as RGB from 0 to 1, of shape (1, 3, height, width).

    Args:
        path: a file in any format that Pillow reads; transparent pixels are blended with white.
        size: the longer side in pixels; smaller images are not resized.

    Raises:
        ImageError: the file does not exist, or is not an image.

    """
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened).convert("RGBA")
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except (OSError, UnidentifiedImageError) as error:
        raise ImageError(f"{path}: cannot be read as an image") from error
    white = Image.new("RGBA", upright.size, "white")
    image = Image.alpha_composite(white, upright).convert("RGB")
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return to_tensor(image)


def save_image(tensor: Tensor, path: str) -> None:
    """Write RGB from 0 to 1, of shape (1, 3, height, width), in the format of the suffix.

    Raises:
        ImageError: Pillow writes no format with this suffix, or the file cannot be written.

    """
    target = Path(path)
    temporary = target.with_name(f".{secrets.token_hex(4)}{target.suffix}")
    try:
        to_image(tensor).save(temporary)
        temporary.replace(target)
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def to_tensor(image: Image.Image) -> Tensor:
    """Return an RGB image as values from 0 to 1, of shape (1, 3, height, width)."""
    data = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return data.reshape(1, image.height, image.width, 3).permute(0, 3, 1, 2) / 255


def to_image(tensor: Tensor) -> Image.Image:
    """Return RGB from 0 to 1, of shape (1, 3, height, width), as an image of 8-bit pixels."""
    pixels = (tensor[0].permute(1, 2, 0) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.numpy())
