"""Files that people have weights in and that are not read, each with its way out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Refusal:
    """A kind of file that is not read.

    Attributes:
        name: a regular expression for the whole of its files' names, in lower case.
        message: what is said of one, after its path.
        magic: what its files begin with, where that is no other's beginning.

    """

    name: str
    message: str
    magic: bytes | None = None


_FROM_TENSORFLOW: Final = (
    "load it with TensorFlow, and save its weights from Keras, "
    "model.save_weights('model.weights.h5'), or its arrays with safetensors.numpy.save_file"
)
_CHECKPOINT: Final = Refusal(
    r".*\.(ckpt|index|data-\d{5}-of-\d{5})",
    f"looks like a TensorFlow checkpoint, which is not read: {_FROM_TENSORFLOW}",
)
_SAVED_MODEL: Final = Refusal(
    r".*\.pb", f"looks like a TensorFlow model, which is not read: {_FROM_TENSORFLOW}"
)
# Nearly all of GGUF is quantized already, and every one was converted from something that is read.
_GGUF: Final = Refusal(
    r".*\.gguf",
    "looks like GGUF, which is not read: take the checkpoint that it was converted from, or "
    "convert it back with transformers: "
    "AutoModelForCausalLM.from_pretrained(folder, gguf_file=name).save_pretrained(other)",
    b"GGUF",
)

REFUSALS: Final = (_CHECKPOINT, _SAVED_MODEL, _GGUF)


def by_content(head: bytes) -> str | None:
    """What is said of a file that begins like this."""
    found = (r for r in REFUSALS if r.magic is not None and head.startswith(r.magic))
    return next((refusal.message for refusal in found), None)


def by_name(name: str) -> str | None:
    """What is said of a file of this name whose content is of no known format."""
    found = (refusal for refusal in REFUSALS if re.fullmatch(refusal.name, name.lower()))
    return next((refusal.message for refusal in found), None)


def by_place(path: Path) -> str | None:
    """What is said of a folder, or of what several files' names begin with, in place of a file."""
    if (path / "saved_model.pb").is_file():
        return _SAVED_MODEL.message
    if not path.exists() and path.with_name(f"{path.name}.index").is_file():
        return _CHECKPOINT.message
    return None
