"""Photographs, and rendered pages of text, made of what matplotlib ships."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

DATA: Final = Path(mpl.get_data_path())
Color = tuple[int, int, int]
WHITE: Final[Color] = (255, 255, 255)
BLACK: Final[Color] = (20, 20, 20)
# Lines are this many times as far apart as a letter is high.
SPACING: Final = 1.6
MARGIN: Final = 40

LETTER: Final = """\
Dear Ms. Hartmann,
thank you for your letter of 14 March 2024. We have
received your order (No. 58-2071) and will send the
three parts to the address below by Friday, 22 March.
Please call us at +49 30 555 0178 if anything is missing."""
STORY: Final = """\
The ferry left the harbour at half past six. Nobody
stood on the deck, for the wind came from the north
and carried the first snow of the year. Below, in the
small saloon, two men played chess. The older one had
lost a bishop and looked at the board without hope."""
STEPS: Final = """\
1. Switch off the machine and unplug it.
2. Open the cover with a 5 mm hex key.
3. Remove the filter (part A17) and rinse it.
4. Let it dry for 24 hours before you replace it.
5. Close the cover. Do not use force!"""
NUMBERS: Final = """\
Speed of light: 299,792,458 m/s
Boiling point of water: 100 C = 212 F
Area of a circle: 3.14159 x r x r
Population 2023: 8,045,311,447
Exchange rate: 1 EUR = 1.0834 USD"""
INVOICE: Final = (
    ("Item", "Quantity", "Price"),
    ("Garden chair, oak", "4", "79.90"),
    ("Round table 120 cm", "1", "249.00"),
    ("Parasol, green", "2", "54.50"),
    ("Delivery", "1", "19.99"),
    ("Total incl. VAT", "", "697.59"),
)


@dataclass
class Page:
    """A page, and the lines of text that are drawn on it.

    Attributes:
        image: the page.
        lines: the lines, or the cells of a table.
        ink: the color of the text.

    """

    image: Image.Image
    ink: Color = BLACK
    lines: list[str] = field(default_factory=list)

    def write(self, text: str, font: str, size: int, at: tuple[int, int]) -> None:
        """Draw lines of text at a position.

        Args:
            text: the lines.
            font: the name of a font of matplotlib.
            size: the size of the font in pixels.
            at: the position of the upper left corner.

        """
        draw, face = ImageDraw.Draw(self.image), load_font(font, size)
        for number, line in enumerate(text.splitlines()):
            draw.text((at[0], at[1] + number * int(size * SPACING)), line, self.ink, face)
            self.lines.append(line)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The page as OpenCV has images: rows of blue, green and red."""
        return to_opencv(self.image)


def load_font(name: str, size: int) -> Any:
    return ImageFont.truetype(str(DATA / "fonts" / "ttf" / f"{name}.ttf"), size)


def to_opencv(image: Image.Image) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])


def text_page(
    text: str, font: str, size: int, paper: Color = WHITE, ink: Color = BLACK, angle: int = 0
) -> Page:
    """Return a page of lines, turned by an angle in degrees."""
    lines = text.splitlines()
    width = int(max(load_font(font, size).getlength(line) for line in lines))
    height = len(lines) * int(size * SPACING)
    page = Page(Image.new("RGB", (width + 2 * MARGIN, height + 2 * MARGIN), paper), ink)
    page.write(text, font, size, (MARGIN, MARGIN))
    page.image = page.image.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=paper)
    return page


def invoice() -> Page:
    """Return a table with lines between its rows."""
    page = Page(Image.new("RGB", (900, 640), WHITE))
    page.write("INVOICE 2024-0815", "DejaVuSans-Bold", 40, (40, 30))
    draw = ImageDraw.Draw(page.image)
    for row, cells in enumerate(INVOICE):
        top = 140 + 60 * row
        draw.line((40, top + 44, 860, top + 44), BLACK)
        for left, cell in zip((40, 480, 680), cells, strict=True):
            page.write(cell, "DejaVuSans", 26, (left, top))
    return page


def draw_pages() -> Iterator[Page]:
    """Yield ten pages in several fonts, sizes and layouts.

    The models of rapidocr read them almost without a mistake. On pages that they read badly, the
    text depends on the last bits of the weights.
    """
    yield text_page(LETTER, "DejaVuSerif", 36)
    yield text_page(LETTER, "STIXGeneral", 36, paper=(30, 34, 44), ink=(240, 240, 240))
    yield text_page(STORY, "STIXGeneralBol", 36)
    yield text_page(STORY, "DejaVuSans-Bold", 32)
    yield text_page(STORY, "DejaVuSerif-Italic", 34, (232, 224, 205), (50, 40, 40), angle=-2)
    yield text_page(STEPS, "DejaVuSerif", 36)
    yield text_page(STEPS, "STIXGeneral", 40)
    yield text_page(NUMBERS, "DejaVuSans-Bold", 34)
    yield text_page(NUMBERS, "STIXGeneral", 44)
    yield invoice()


def photographs() -> Iterator[NDArray[np.uint8]]:
    """Yield five images: a portrait, two parts of it, a drawing and a page."""
    portrait = Image.open(DATA / "sample_data" / "grace_hopper.jpg").convert("RGB")
    yield to_opencv(portrait)
    yield to_opencv(portrait.crop((120, 20, 400, 300)))
    yield to_opencv(portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(8, expand=True))
    with Image.open(DATA / "sample_data" / "Minduka_Present_Blue_Pack.png") as drawing:
        yield to_opencv(drawing)
    yield invoice().pixels
