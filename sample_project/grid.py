"""Images side by side, each with its caption under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COLUMNS = 5
GAP = 10
TEXT = 13
LINE = 17
QUALITY = 85

Cell = tuple[tuple[str, ...], Image.Image]


def draw_grid(cells: Sequence[Cell], target: Path) -> None:
    """Write images of one size, in rows of five, each over the lines of its caption."""
    width, height = cells[0][1].size
    lines = max(len(caption) for caption, _ in cells)
    tall = height + 4 + lines * LINE + GAP
    rows = -(-len(cells) // COLUMNS)
    grid = Image.new("RGB", (COLUMNS * (width + GAP) + GAP, rows * tall + GAP), "white")
    draw = ImageDraw.Draw(grid)
    for number, (caption, image) in enumerate(cells):
        row, column = divmod(number, COLUMNS)
        left, top = GAP + column * (width + GAP), GAP + row * tall
        grid.paste(image, (left, top))
        for index, line in enumerate(caption):
            place = (left, top + height + 4 + index * LINE)
            draw.text(place, line, "black", ImageFont.load_default(TEXT))
    grid.save(target, quality=QUALITY)
