"""NNCodec, which runs in an environment of its own: what it is asked for, and what comes of it."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from fidelity_points import Point, deviation_of, in_wheel, kept_exactly, point, quantized
from safetensors.numpy import load_file, save

if TYPE_CHECKING:
    from fidelity_models import Model, State

_QP_PER_OCTAVE: Final = 4


def nncodec(model: Model, source: Path, python: list[str], steps: tuple[float, ...]) -> list[Point]:
    """NNCodec in an environment of its own, at steps of so many standard deviations.

    Raises:
        OSError, subprocess.CalledProcessError: it is not there, or does not run.

    """
    tensors = quantized(model.state)
    folder = source.with_name("nncodec")
    folder.mkdir(exist_ok=True)
    input_path = folder / "model.safetensors"
    input_path.write_bytes(save(tensors))
    ways = _ways(tensors, steps)
    script = Path(__file__).with_name("fidelity_nncodec.py")
    run = subprocess.run(
        [*python, str(script), str(input_path), str(folder)],
        input=json.dumps(ways), text=True, check=True, capture_output=True,
    )  # fmt: skip
    figures = json.loads(run.stdout.splitlines()[-1])
    return [
        _nncodec_point(model, way, folder / str(number), figures[way])
        for number, way in enumerate(ways)
    ]


def _ways(tensors: State, steps: tuple[float, ...]) -> dict[str, dict[str, Any]]:
    deviation = deviation_of(tensors)
    ways: dict[str, dict[str, Any]] = {}
    for step in steps:
        ways[f"one qp/qp {qp(step * deviation)}"] = {"qp": qp(step * deviation)}
        each = {name: qp(step * float(values.std())) for name, values in tensors.items()}
        ways[f"qp of each tensor/{step:g} deviations"] = {
            "qp": qp(step * deviation),
            "qp_per_tensor": each,
        }
    return ways


def qp(step: float) -> int:
    """The quantization parameter whose step is nearest: (1 + q mod 4 / 4) 2^⌊q/4⌋."""
    near = round(_QP_PER_OCTAVE * math.log2(step))
    return min(
        range(near - 2, near + 3),
        key=lambda q: abs(math.log2((1 + q % _QP_PER_OCTAVE / 4) * 2.0 ** (q // 4) / step)),
    )


def _nncodec_point(model: Model, way: str, folder: Path, figures: dict[str, float]) -> Point:
    kind, _, setting = way.partition("/")
    stream = np.frombuffer((folder / "stream").read_bytes(), np.uint8)
    size = in_wheel(save({**kept_exactly(model), "stream": stream}))
    restored = kept_exactly(model) | load_file(folder / "restored")
    seconds = (figures["pack"], figures["restore"])
    return point(model, (f"NNCodec, {kind}", setting), size, restored, seconds)
