"""Grids of images with captions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COLUMNS = 5
GAP = 10
CAPTION_GAP = 4
FONT_SIZE = 13
LINE_HEIGHT = 17
JPEG_QUALITY = 85

Cell = tuple[tuple[str, ...], Image.Image]
"""The lines of a caption, and the image above them."""


def draw_grid(cells: Sequence[Cell], target: Path) -> None:
    """Write a grid of images of the same size, with five columns and a caption below each image."""
    width, height = cells[0][1].size
    lines = max(len(caption) for caption, _ in cells)
    row_height = height + CAPTION_GAP + lines * LINE_HEIGHT + GAP
    rows = -(-len(cells) // COLUMNS)
    grid = Image.new("RGB", (COLUMNS * (width + GAP) + GAP, rows * row_height + GAP), "white")
    draw = ImageDraw.Draw(grid)
    font = ImageFont.load_default(FONT_SIZE)
    for index, (caption, image) in enumerate(cells):
        row, column = divmod(index, COLUMNS)
        left, top = GAP + column * (width + GAP), GAP + row * row_height
        grid.paste(image, (left, top))
        text_top = top + height + CAPTION_GAP
        for line, text in enumerate(caption):
            draw.text((left, text_top + line * LINE_HEIGHT), text, "black", font)
    grid.save(target, quality=JPEG_QUALITY)
