"""Spoken sentences as inputs for networks, by espeak-ng."""

from __future__ import annotations

import ctypes
import functools
from typing import Any, Final

import espeakng_loader
import numpy as np
from network_inputs import RATE, normalize_level
from scipy.signal import resample_poly

TUNING_VOICES: Final = ("en-us+m1", "en-gb-scotland+f2", "en-us+f4")
HELD_OUT_VOICES: Final = ("en+m3", "en-us+f1", "en-gb-x-rp+m7")
TUNING_SENTENCES: Final = (
    "The wheels of small packages roll through the night without a sound.",
    "Nobody knows how many weights a model needs before it forgets its name.",
    "Please bring eleven oranges and a loaf of bread from the market.",
    "The ferry to the island leaves at a quarter past seven every morning.",
    "A thin layer of ice covered the puddles in front of the old station.",
    "She measured the room twice, wrote down the figures, and ordered the carpet.",
    "Most of the birds had already gone south when the first storm arrived.",
    "Turn left behind the bakery, and follow the river as far as the bridge.",  # prose: ok
)
HELD_OUT_SENTENCES: Final = (
    "Yesterday the library closed early because the heating did not work.",
    "My neighbor plays the cello, but only when it rains on a Sunday.",
    "Could you tell me which platform the train to Edinburgh departs from?",
    "Four boxes of blue paint are missing from the shelf in the cellar.",
    "The judge asked for silence, opened the letter, and began to read.",
    "It takes a good hour to walk from the harbor up to the lighthouse.",
    "Hot soup with garlic and ginger is what you need on such a day.",
    "We watched the clouds drift over the valley until it was quite dark.",
)
_SYNCHRONOUS: Final = 2  # AUDIO_OUTPUT_SYNCHRONOUS of speak_lib.h
_UTF_8: Final = 1  # espeakCHARS_UTF8 of speak_lib.h
_CALLBACK: Final = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_int16), ctypes.c_int, ctypes.c_void_p
)
_AUDIBLE: Final = 0.05
"""The share of the peak at which a sentence begins."""


def speak(*, held_out: bool) -> list[Any]:
    """Return each sentence in each voice at 16 kHz: those for tuning, or those held out."""
    tuning, others = _speak_all()
    return others if held_out else tuning


@functools.cache
def _speak_all() -> tuple[list[Any], list[Any]]:
    """Return both sets. A sentence depends on those before, so that all are spoken in one order."""
    synthesizer = Synthesizer()
    return (
        [synthesizer.speak(s, voice) for voice in TUNING_VOICES for s in TUNING_SENTENCES],
        [synthesizer.speak(s, voice) for voice in HELD_OUT_VOICES for s in HELD_OUT_SENTENCES],
    )


class Synthesizer:
    """The library of espeak-ng, which can be opened once in a process."""

    def __init__(self) -> None:
        self._chunks: list[Any] = []
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self._rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0)
        if self._rate <= 0:
            raise RuntimeError(f"espeak-ng cannot be opened with the data in {data!r}")
        # The library keeps no reference to the callback.
        self._callback = _CALLBACK(self._collect)
        self._library.espeak_SetSynthCallback(self._callback)
        # The default is the time.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))

    def speak(self, sentence: str, voice: str) -> Any:
        """Return a sentence at 16 kHz and at the level of the synthetic voices.

        Raises:
            RuntimeError: there is no such voice, or the sentence cannot be spoken.

        """
        self._chunks.clear()
        text = sentence.encode() + b"\0"
        size = ctypes.c_size_t(len(text))
        if self._library.espeak_SetVoiceByName(voice.encode()) or self._library.espeak_Synth(
            text, size, 0, 0, 0, _UTF_8, None, None
        ):
            raise RuntimeError(f"espeak-ng cannot speak {sentence!r} with the voice {voice!r}")
        samples = resample_poly(np.concatenate(self._chunks) / 2**15, RATE, self._rate)
        loud = np.abs(samples) > _AUDIBLE * np.abs(samples).max()
        return normalize_level(samples[loud.argmax() :])

    def _collect(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0
