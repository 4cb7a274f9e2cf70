"""Inputs for networks, made here with fixed seeds: images, drawn text, and synthetic voices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT: Final = Path(__file__).resolve().parents[1]
_FONT: Final = Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
_WORDS: Final = (
    "the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "packing",
    "models", "of", "many", "weights", "into", "small", "wheels",
)  # fmt: skip
RATE: Final = 16_000
"""Samples of a voice in a second."""

_FRAME: Final = 1024
_FRAMES_PER_VOICE: Final = 8


def load_image(name: str, side: int) -> Any:
    """Return an image of the sample project from 0 to 1, of shape (1, 3, side, side)."""
    path = ROOT / "sample_project" / "images" / f"{name}.jpg"
    image = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    return (np.asarray(image, np.float32) / 255).transpose(2, 0, 1)[None].copy()


def draw_page(seed: int) -> Any:
    """Return a page of random words in several sizes, of shape (640, 640, 3)."""
    image = Image.new("RGB", (640, 640), (245, 243, 236))
    draw, rng, top = ImageDraw.Draw(image), np.random.default_rng(seed), 20
    while top < 580:
        font = ImageFont.truetype(_FONT, int(rng.integers(14, 34)))
        text = " ".join(rng.choice(_WORDS, int(rng.integers(2, 6))))
        color = (20, 20, int(rng.integers(0, 90)))
        draw.text((int(rng.integers(10, 80)), top), text, fill=color, font=font)
        top += int(rng.integers(40, 90))
    return np.asarray(image, np.float32) / 255


def draw_line(text: str, width: int) -> Any:
    """Return a line of text, of shape (48, width, 3)."""
    image = Image.new("RGB", (width, 48), (250, 250, 250))
    font = ImageFont.truetype(_FONT, 26)
    ImageDraw.Draw(image).text((6, 8), text, fill=(10, 10, 10), font=font)
    return np.asarray(image, np.float32) / 255


def random_text(seed: int, length: int = 22) -> str:
    """Return random words and a number, of at most some characters."""
    rng = np.random.default_rng(seed)
    words = [str(rng.integers(10, 10_000)), *rng.choice(_WORDS, 6)]
    return " ".join(rng.permutation(words))[:length]


def page_input(seed: int) -> Any:
    """Return a page as the detector of rapidocr takes it, of shape (1, 3, 640, 640)."""
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    deviation = np.array([0.229, 0.224, 0.225], np.float32)
    return _as_input((draw_page(seed) - mean) / deviation)


def line_input(text: str, width: int) -> Any:
    """Return a line of text as rapidocr takes it, of shape (1, 3, 48, width)."""
    return _as_input(draw_line(text, width) * 2 - 1)


def _as_input(image: Any) -> Any:
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)


def crepe_frames(seeds: range) -> Any:
    """Return frames of voices as torchcrepe takes them, of shape (frames, 1, 1024, 1)."""
    voices = [
        make_voice(seed)[2000 : 2000 + _FRAMES_PER_VOICE * _FRAME].reshape(-1, _FRAME)
        for seed in seeds
    ]
    frames = np.concatenate(voices)
    frames = (frames - frames.mean(1, keepdims=True)) / frames.std(1, keepdims=True)
    return frames.astype(np.float32)[:, None, :, None]


def mel_frames(voices: Iterable[Any]) -> Any:
    """Return the spectrograms of voices as Resemblyzer takes them, of shape (voices, 160, 40)."""
    return np.stack([mel_spectrogram(voice)[:160] for voice in voices])


def make_voice(seed: int, seconds: float = 1.62) -> Any:
    """Return a voice at 16 kHz: harmonics of a wandering pitch in three wandering formants."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = rng.uniform(90, 240) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(1, 4) * time))
    phase, voice = 2 * np.pi * np.cumsum(pitch) / RATE, np.zeros(time.size)
    for harmonic in range(1, 40):
        gain = np.zeros(time.size)
        for low, high in ((300, 800), (900, 2200), (2300, 3200)):
            swing = np.sin(2 * np.pi * rng.uniform(0.5, 3) * time + rng.uniform(0, 6))
            formant = (low + high) / 2 + (high - low) / 2 * swing
            gain += 1 / (1 + ((harmonic * pitch - formant) / 90) ** 2)
        audible = harmonic * pitch < RATE / 2
        voice += gain * np.sin(harmonic * phase) / harmonic**0.5 * audible
    voice *= 0.5 + 0.5 * np.sin(2 * np.pi * 4 * time) ** 2
    voice += 0.003 * rng.standard_normal(time.size)
    return normalize_level(voice)


def normalize_level(voice: Any) -> Any:
    """Return a voice at the level that Resemblyzer expects, -30 dB."""
    return voice / np.sqrt((voice**2).mean()) * 10 ** (-30 / 20)


def mel_spectrogram(voice: Any, window: int = 400, hop: int = 160, bands: int = 40) -> Any:
    """Return the power in mel bands as librosa does, of shape (frames, bands)."""
    edges = _mel_to_hertz(np.linspace(0, 15 + np.log(8) / (np.log(6.4) / 27), bands + 2))
    frequencies = np.linspace(0, RATE / 2, window // 2 + 1)
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    filters = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    padded = np.pad(voice, window // 2)
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    starts = range(0, len(padded) - window + 1, hop)
    spectrum = np.fft.rfft(np.stack([padded[start : start + window] * taper for start in starts]))
    return (np.abs(spectrum) ** 2 @ filters.T).astype(np.float32)


def _mel_to_hertz(mels: Any) -> Any:
    """Convert mels by Slaney's scale: linear up to 1 kHz, and then logarithmic."""
    return np.where(mels >= 15, 1000 * np.exp(np.log(6.4) / 27 * (mels - 15)), mels * 200 / 3)
