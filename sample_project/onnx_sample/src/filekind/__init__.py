"""Tell what kind of file some bytes are, with the model of Magika.

The model is restored from the package when it is first used, and then kept.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .features import read_features
from .kinds import KINDS

__all__ = ["Guess", "identify", "load_session"]


class Guess(NamedTuple):
    """The most probable kind of some bytes, such as "python", and its probability."""

    kind: str
    probability: float


def identify(data: bytes) -> Guess:
    """Return the most probable kind of the content of a file.

    The guess says little for content of fewer than 16 bytes.
    """
    (probabilities,) = load_session().run(["target_label"], {"bytes": read_features(data)})[0]
    best = int(np.argmax(probabilities))
    return Guess(KINDS[best], float(probabilities[best]))


@cache
def load_session() -> Any:
    """Restore the model, and return a session of onnxruntime that runs it."""
    # Imported here to keep the import of this package fast.
    import onnxruntime  # noqa: PLC0415

    import vggq  # noqa: PLC0415

    return onnxruntime.InferenceSession(vggq.read_bytes("filekind", "magika.vggq"))
