"""Draw the two images that ship with the sample: `python make_images.py`. Needs numpy, Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT, SCALE = 320, 240, 3

Pixels = NDArray[np.float64]


def harbour() -> Image.Image:
    """Houses at a harbour in the evening, mirrored in the water."""
    land = sky()
    draw = ImageDraw.Draw(land)
    sun = [s * SCALE for s in (215, 52, 255, 92)]
    draw.ellipse(sun, fill=(255, 236, 180))
    hill(draw, 120, 26, 90, (92, 104, 140))
    hill(draw, 138, 16, 55, (66, 84, 104))
    rng = np.random.default_rng(4)
    walls = [(176, 72, 56), (222, 186, 120), (84, 120, 132), (204, 204, 190), (150, 90, 110)]
    left = 12
    for number in range(9):
        wide, tall = int(rng.integers(26, 38)), int(rng.integers(38, 74))
        house(draw, left, wide, tall, walls[number % len(walls)])
        left += wide
    boat(draw)
    shore = 172 * SCALE
    mirrored = land.crop((0, 2 * shore - land.height, land.width, shore)).transpose(
        Image.Transpose.FLIP_TOP_BOTTOM
    )
    land.paste(ripple(mirrored), (0, shore))
    return land.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def sky() -> Image.Image:
    """A gradient from blue over rose to yellow."""
    stops = np.array([(56, 82, 140), (196, 130, 140), (250, 206, 140)], float)
    place = np.linspace(0, 1, HEIGHT * SCALE)
    bands = [np.interp(place, [0, 0.45, 0.72], stops[:, c]) for c in range(3)]
    rows = np.stack(bands, axis=-1)[:, None]
    pixels = np.broadcast_to(rows, (HEIGHT * SCALE, WIDTH * SCALE, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def hill(
    draw: ImageDraw.ImageDraw, base: int, tall: int, length: int, colour: tuple[int, int, int]
) -> None:
    """A range of hills down to the shore."""
    ridge = [
        (x * SCALE, (base - tall * np.sin(x / length) - tall / 3 * np.sin(x / 17)) * SCALE)
        for x in range(WIDTH + 1)
    ]
    draw.polygon([*ridge, (WIDTH * SCALE, 172 * SCALE), (0, 172 * SCALE)], fill=colour)


def house(
    draw: ImageDraw.ImageDraw, left: int, wide: int, tall: int, colour: tuple[int, int, int]
) -> None:
    """A gabled house with lit windows."""
    top, right = 172 - tall, left + wide
    gable = [(left, top), (left + wide / 2, top - 13), (right, top)]
    draw.rectangle([s * SCALE for s in (left, top, right, 172)], fill=colour)
    draw.polygon([(x * SCALE, y * SCALE) for x, y in gable], fill=(92, 46, 42))
    for y in range(top + 7, 158, 14):
        for x in range(left + 5, right - 6, 10):
            draw.rectangle([s * SCALE for s in (x, y, x + 5, y + 7)], fill=(250, 222, 140))


def boat(draw: ImageDraw.ImageDraw) -> None:
    """A sailing boat before the last house."""
    hull = [(262, 164), (310, 164), (300, 174), (270, 174)]
    sail = [(285, 110), (285, 160), (312, 160)]
    jib = [(282, 116), (282, 160), (262, 160)]
    for points, colour in ((hull, (70, 40, 34)), (sail, (250, 244, 230)), (jib, (226, 96, 70))):
        draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=colour)


def ripple(image: Image.Image) -> Image.Image:
    """What the water makes of it: rows shifted by waves, and darker."""
    pixels = np.asarray(image).astype(float)
    rows = np.arange(pixels.shape[0])
    shifts = (5 * np.sin(rows / 4.0) * (1 + rows / 60)).astype(int)
    shifted = np.stack([np.roll(row, s, axis=0) for row, s in zip(pixels, shifts, strict=True)])
    return Image.fromarray((shifted * 0.72 + np.array([6, 20, 38])).clip(0, 255).astype(np.uint8))


def currents() -> Image.Image:
    """Brush strokes along a field of whirls: noise, smeared along the field's lines."""
    rng = np.random.default_rng(11)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    uv = field(x, y)
    noise = np.asarray(
        Image.fromarray(rng.integers(0, 256, (HEIGHT // 2, WIDTH // 2), dtype=np.uint8)).resize(
            (WIDTH, HEIGHT), Image.Resampling.NEAREST
        )
    ).astype(float)
    strokes = stretch(smear(noise, uv))
    broad = stretch(smear(np.roll(noise, 50, axis=1), uv, steps=60))
    pixels = colours(0.55 * broad + 0.45 * strokes) * (0.55 + 0.6 * strokes[..., None])
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return image.filter(ImageFilter.UnsharpMask(2, 60, 2))


def field(x: Pixels, y: Pixels) -> tuple[Pixels, Pixels]:
    """A stream, and whirls in it; directions of length 1."""
    u, v = np.full_like(x, 0.35), 0.12 * np.sin(x / 40)
    for cx, cy, r, turn in (
        (80, 70, 42, 1),
        (210, 60, 50, -1),
        (150, 170, 55, 1),
        (275, 180, 38, -1),
    ):
        dx, dy = x - cx, y - cy
        pull = turn * np.exp(-(dx**2 + dy**2) / (2 * r**2)) * 2 / r
        u, v = u - dy * pull, v + dx * pull
    length = np.hypot(u, v) + 1e-9
    return u / length, v / length


def smear(noise: Pixels, uv: tuple[Pixels, Pixels], steps: int = 14) -> Pixels:
    """Line integral convolution (Cabral and Leedom, 1993), of 2 * steps + 1 pixels."""
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
    """Ranks, from 0 to 1: every tone equally often."""
    ranks: Pixels = values.reshape(-1).argsort().argsort().reshape(values.shape) / values.size
    return ranks


def colours(values: Pixels) -> Pixels:
    """Night blue over turquoise and cream to orange."""
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
    places = np.array([0, 0.3, 0.5, 0.66, 0.8, 1])
    return np.stack([np.interp(values, places, stops[:, c]) for c in range(3)], axis=-1)


if __name__ == "__main__":
    harbour().save(HERE / "harbour.jpg", quality=90)
    currents().save(HERE / "currents.jpg", quality=78)
