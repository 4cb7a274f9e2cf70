"""NNCodec as a packer: settings for its worker process, and points from the worker's results."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from fidelity_points import (
    Point,
    compute_rms,
    compute_wheel_size,
    make_point,
    select_exact,
    select_quantized,
)
from safetensors.numpy import load_file, save

if TYPE_CHECKING:
    from fidelity_models import BenchmarkModel, State

_WORKER: Final = Path(__file__).with_name("nncodec_worker.py")
_QP_PER_OCTAVE: Final = 4


def measure_nncodec(
    model: BenchmarkModel, source: Path, python: list[str], steps: tuple[float, ...]
) -> list[Point]:
    """Run NNCodec in an environment of its own, and return its points.

    Args:
        model: the model to pack.
        source: a file of the model; the worker's files are written into a folder next to it.
        python: the command of a Python that has NNCodec.
        steps: step sizes in standard deviations.

    Raises:
        OSError, subprocess.CalledProcessError: NNCodec is not installed, or fails.

    """
    tensors = select_quantized(model.state)
    folder = source.with_name("nncodec")
    folder.mkdir(exist_ok=True)
    input_path = folder / "model.safetensors"
    input_path.write_bytes(save(tensors))
    settings = _make_settings(tensors, steps)
    done = subprocess.run(
        [*python, str(_WORKER), str(input_path), str(folder)],
        input=json.dumps(settings), text=True, check=True, capture_output=True,
    )  # fmt: skip
    seconds = json.loads(done.stdout.splitlines()[-1])
    return [
        _make_nncodec_point(model, name, folder / str(index), seconds[name])
        for index, name in enumerate(settings)
    ]


def _make_settings(tensors: State, steps: tuple[float, ...]) -> dict[str, dict[str, Any]]:
    """Return options of NNCodec's encoder by "KIND/SETTING"."""
    deviation = compute_rms(tensors)
    settings: dict[str, dict[str, Any]] = {}
    for step in steps:
        qp = find_qp(step * deviation)
        settings[f"one qp/qp {qp}"] = {"qp": qp}
        per_tensor = {name: find_qp(step * float(array.std())) for name, array in tensors.items()}
        settings[f"qp of each tensor/{step:g} deviations"] = {
            "qp": qp,
            "qp_per_tensor": per_tensor,
        }
    return settings


def find_qp(step: float) -> int:
    """Return the quantization parameter q of the nearest step size, (1 + q mod 4 / 4) 2^⌊q/4⌋."""
    near = round(_QP_PER_OCTAVE * math.log2(step))
    return min(
        range(near - 2, near + 3),
        key=lambda q: abs(math.log2((1 + q % _QP_PER_OCTAVE / 4) * 2.0 ** (q // 4) / step)),
    )


def _make_nncodec_point(
    model: BenchmarkModel, name: str, folder: Path, seconds: dict[str, float]
) -> Point:
    kind, _, setting = name.partition("/")
    stream = np.frombuffer((folder / "stream").read_bytes(), np.uint8)
    size = compute_wheel_size(save({**select_exact(model), "stream": stream}))
    restored = select_exact(model) | load_file(folder / "restored")
    times = (seconds["pack"], seconds["restore"])
    return make_point(model, (f"NNCodec, {kind}", setting), size, restored, times)
