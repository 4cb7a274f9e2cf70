"""Compare the restored model with the original one, in an environment that has only the wheel.

::

    python check_kinds.py ORIGINAL.onnx FILE...

The script prints JSON: the kind of each file, how many files get the same kind from the original
model, and the largest difference of a probability.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from filekind import identify, load_session
from filekind.features import read_features

if TYPE_CHECKING:
    from numpy.typing import NDArray


def main(original: str, *files: str) -> None:
    """Run both models on all files, and print the figures."""
    sessions = load_session(), onnxruntime.InferenceSession(original)
    same, largest = 0, 0.0
    for file in files:
        restored, exact = (run_model(session, Path(file)) for session in sessions)
        same += bool(restored.argmax() == exact.argmax())
        largest = max(largest, float(np.abs(restored - exact).max()))
    kinds = {file: identify(Path(file).read_bytes()).kind for file in files}
    print(json.dumps({"kinds": kinds, "same": same, "largest_difference": largest}))


def run_model(session: Any, path: Path) -> NDArray[np.float32]:
    """Return the probabilities of all kinds."""
    outputs = session.run(None, {"bytes": read_features(path.read_bytes())})
    probabilities: NDArray[np.float32] = outputs[0][0]
    return probabilities


if __name__ == "__main__":
    main(*sys.argv[1:])
