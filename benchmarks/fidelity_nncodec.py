"""NNCodec at several rates, in an environment of its own (it wants an older numpy).

    hatch run nncodec:python benchmarks/fidelity_nncodec.py MODEL.safetensors FOLDER

Packs each way that is asked for on standard input (JSON: name to options of `nncodec.nn.encode`)
into the folder, restores it four times, and prints bytes and seconds as JSON. Its package imports
torchvision for training examples only, and torchvision's build has to match torch's to the letter:
stand-ins serve.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np

for _name in ("torchvision", "torchvision.datasets", "torchvision.transforms"):
    sys.modules[_name] = MagicMock()

from nncodec import nn  # noqa: E402 - after the stand-ins
from safetensors.numpy import load_file, save_file  # noqa: E402

_FRESH = 1
_RESTORES = 3


def main() -> int:
    """Pack, restore, print."""
    state, folder = load_file(sys.argv[1]), Path(sys.argv[2])
    ways: dict[str, dict[str, Any]] = json.load(sys.stdin)
    figures = {}
    for number, (name, options) in enumerate(ways.items()):
        with contextlib.redirect_stdout(sys.stderr):
            figures[name] = _measure(state, folder / str(number), options)
    print(json.dumps(figures))
    return 0


def _measure(state: dict[str, Any], folder: Path, options: dict[str, Any]) -> dict[str, float]:
    folder.mkdir()
    begin = time.perf_counter()
    stream = nn.encode(state, {**options, "verbose": False, "results": str(folder)})
    packed = time.perf_counter() - begin
    times = []
    for _ in range(_FRESH + _RESTORES):
        begin = time.perf_counter()
        restored = nn.decode(stream)
        times.append(time.perf_counter() - begin)
    (folder / "stream").write_bytes(stream)
    save_file({k: np.ascontiguousarray(v) for k, v in restored.items()}, folder / "restored")
    return {"pack": packed, "restore": statistics.median(times[_FRESH:])}


if __name__ == "__main__":
    sys.exit(main())
