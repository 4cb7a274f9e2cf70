"""Draw the two images of the sample; needs numpy and Pillow.

::

    python make_images.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT, SCALE = 320, 240, 3
SHORE = 172

Pixels = NDArray[np.float64]


def harbour() -> Image.Image:
    """Draw houses at a harbour in the evening, reflected in the water."""
    land = draw_sky()
    draw = ImageDraw.Draw(land)
    sun = [s * SCALE for s in (215, 52, 255, 92)]
    draw.ellipse(sun, fill=(255, 236, 180))
    draw_hills(draw, 120, 26, 90, (92, 104, 140))
    draw_hills(draw, 138, 16, 55, (66, 84, 104))
    rng = np.random.default_rng(4)
    walls = [(176, 72, 56), (222, 186, 120), (84, 120, 132), (204, 204, 190), (150, 90, 110)]
    left = 12
    for index in range(9):
        width, height = int(rng.integers(26, 38)), int(rng.integers(38, 74))
        draw_house(draw, left, width, height, walls[index % len(walls)])
        left += width
    draw_boat(draw)
    shore = SHORE * SCALE
    reflection = land.crop((0, 2 * shore - land.height, land.width, shore)).transpose(
        Image.Transpose.FLIP_TOP_BOTTOM
    )
    land.paste(ripple(reflection), (0, shore))
    return land.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def draw_sky() -> Image.Image:
    """Draw a gradient from blue to rose to yellow."""
    stops = np.array([(56, 82, 140), (196, 130, 140), (250, 206, 140)], float)
    positions = np.linspace(0, 1, HEIGHT * SCALE)
    channels = [np.interp(positions, [0, 0.45, 0.72], stops[:, c]) for c in range(3)]
    rows = np.stack(channels, axis=-1)[:, None]
    pixels = np.broadcast_to(rows, (HEIGHT * SCALE, WIDTH * SCALE, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def draw_hills(
    draw: ImageDraw.ImageDraw, base: int, height: int, length: int, colour: tuple[int, int, int]
) -> None:
    """Draw a range of hills down to the shore."""
    ridge = [
        (x * SCALE, (base - height * np.sin(x / length) - height / 3 * np.sin(x / 17)) * SCALE)
        for x in range(WIDTH + 1)
    ]
    draw.polygon([*ridge, (WIDTH * SCALE, SHORE * SCALE), (0, SHORE * SCALE)], fill=colour)


def draw_house(
    draw: ImageDraw.ImageDraw, left: int, width: int, height: int, colour: tuple[int, int, int]
) -> None:
    """Draw a gabled house with lit windows."""
    top, right = SHORE - height, left + width
    gable = [(left, top), (left + width / 2, top - 13), (right, top)]
    draw.rectangle([s * SCALE for s in (left, top, right, SHORE)], fill=colour)
    draw.polygon([(x * SCALE, y * SCALE) for x, y in gable], fill=(92, 46, 42))
    for y in range(top + 7, 158, 14):
        for x in range(left + 5, right - 6, 10):
            draw.rectangle([s * SCALE for s in (x, y, x + 5, y + 7)], fill=(250, 222, 140))


def draw_boat(draw: ImageDraw.ImageDraw) -> None:
    """Draw a sailing boat in front of the last house."""
    hull = [(262, 164), (310, 164), (300, 174), (270, 174)]
    sail = [(285, 110), (285, 160), (312, 160)]
    jib = [(282, 116), (282, 160), (262, 160)]
    for points, colour in ((hull, (70, 40, 34)), (sail, (250, 244, 230)), (jib, (226, 96, 70))):
        draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=colour)


def ripple(image: Image.Image) -> Image.Image:
    """Turn an image into its reflection in water: shift rows in waves, and darken."""
    pixels = np.asarray(image).astype(float)
    rows = np.arange(pixels.shape[0])
    shifts = (5 * np.sin(rows / 4.0) * (1 + rows / 60)).astype(int)
    shifted = np.stack([np.roll(row, s, axis=0) for row, s in zip(pixels, shifts, strict=True)])
    return Image.fromarray((shifted * 0.72 + np.array([6, 20, 38])).clip(0, 255).astype(np.uint8))


def currents() -> Image.Image:
    """Draw brush strokes along a field of whirls: noise, smeared along the field's lines."""
    rng = np.random.default_rng(11)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    uv = make_field(x, y)
    noise = np.asarray(
        Image.fromarray(rng.integers(0, 256, (HEIGHT // 2, WIDTH // 2), dtype=np.uint8)).resize(
            (WIDTH, HEIGHT), Image.Resampling.NEAREST
        )
    ).astype(float)
    strokes = stretch(smear(noise, uv))
    broad = stretch(smear(np.roll(noise, 50, axis=1), uv, steps=60))
    pixels = map_colours(0.55 * broad + 0.45 * strokes) * (0.55 + 0.6 * strokes[..., None])
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return image.filter(ImageFilter.UnsharpMask(2, 60, 2))


def make_field(x: Pixels, y: Pixels) -> tuple[Pixels, Pixels]:
    """Return the directions, of length 1, of a stream with whirls."""
    u, v = np.full_like(x, 0.35), 0.12 * np.sin(x / 40)
    for centre_x, centre_y, radius, sense in (
        (80, 70, 42, 1),
        (210, 60, 50, -1),
        (150, 170, 55, 1),
        (275, 180, 38, -1),
    ):
        dx, dy = x - centre_x, y - centre_y
        strength = sense * np.exp(-(dx**2 + dy**2) / (2 * radius**2)) * 2 / radius
        u, v = u - dy * strength, v + dx * strength
    length = np.hypot(u, v) + 1e-9
    return u / length, v / length


def smear(noise: Pixels, uv: tuple[Pixels, Pixels], steps: int = 14) -> Pixels:
    """Return the line integral convolution (Cabral and Leedom, 1993) of 2 * steps + 1 pixels."""
    (u, v), total = uv, noise.copy()
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    for sign in (1, -1):
        px, py = x.copy(), y.copy()
        for _ in range(steps):
            i = py.round().astype(int) % noise.shape[0]
            j = px.round().astype(int) % noise.shape[1]
            px, py = px + sign * u[i, j], py + sign * v[i, j]
            i = py.round().astype(int) % noise.shape[0]
            j = px.round().astype(int) % noise.shape[1]
            total += noise[i, j]
    return total / (2 * steps + 1)


def stretch(values: Pixels) -> Pixels:
    """Replace values by their ranks, from 0 to 1, so that every tone is equally frequent."""
    ranks: Pixels = values.reshape(-1).argsort().argsort().reshape(values.shape) / values.size
    return ranks


def map_colours(values: Pixels) -> Pixels:
    """Map values from 0 to 1 to colours from dark blue to turquoise, cream and orange."""
    stops = np.array(
        [
            (14, 28, 84),
            (24, 78, 150),
            (60, 160, 180),
            (240, 226, 170),
            (244, 168, 52),
            (206, 74, 34),
        ],
        float,
    )
    positions = np.array([0, 0.3, 0.5, 0.66, 0.8, 1])
    return np.stack([np.interp(values, positions, stops[:, c]) for c in range(3)], axis=-1)


if __name__ == "__main__":
    harbour().save(HERE / "harbour.jpg", quality=90)
    currents().save(HERE / "currents.jpg", quality=78)
