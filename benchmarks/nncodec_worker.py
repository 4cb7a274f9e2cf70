"""Pack a model with NNCodec at several rates.

    hatch run nncodec:python benchmarks/nncodec_worker.py MODEL.safetensors FOLDER

`fidelity_nncodec.py` starts this script in an environment of its own, because NNCodec needs an
older numpy. The script reads JSON from standard input: a table from names to options of
`nncodec.nn.encode`. It packs the model with each of these options, restores each result four
times, writes both into numbered folders below FOLDER, and prints the seconds as JSON.

NNCodec imports torchvision only for training examples, and a build of torchvision works with
exactly one build of torch. Mock modules take the place of torchvision.
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

from nncodec import nn  # noqa: E402 - needs the mock modules
from safetensors.numpy import load_file, save_file  # noqa: E402

_WARMUP_ROUNDS = 1
_TIMED_ROUNDS = 3


def main() -> int:
    """Pack and restore with each of the options, and print the seconds."""
    state, folder = load_file(sys.argv[1]), Path(sys.argv[2])
    settings: dict[str, dict[str, Any]] = json.load(sys.stdin)
    seconds = {}
    for index, (name, options) in enumerate(settings.items()):
        # NNCodec prints progress on stdout.
        with contextlib.redirect_stdout(sys.stderr):
            seconds[name] = _time_nncodec(state, folder / str(index), options)
    print(json.dumps(seconds))
    return 0


def _time_nncodec(state: dict[str, Any], folder: Path, options: dict[str, Any]) -> dict[str, float]:
    folder.mkdir()
    begin = time.perf_counter()
    stream = nn.encode(state, {**options, "verbose": False, "results": str(folder)})
    pack_seconds = time.perf_counter() - begin
    restore_seconds = []
    for _ in range(_WARMUP_ROUNDS + _TIMED_ROUNDS):
        begin = time.perf_counter()
        restored = nn.decode(stream)
        restore_seconds.append(time.perf_counter() - begin)
    (folder / "stream").write_bytes(stream)
    save_file({k: np.ascontiguousarray(v) for k, v in restored.items()}, folder / "restored")
    return {"pack": pack_seconds, "restore": statistics.median(restore_seconds[_WARMUP_ROUNDS:])}


if __name__ == "__main__":
    sys.exit(main())
