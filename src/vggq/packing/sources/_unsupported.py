"""Weights in file formats that cannot be read, with advice for each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class UnsupportedFormat:
    """A known format that cannot be read.

    Attributes:
        name_pattern: regular expression for a whole file name in lower case.
        message: reason and advice, to follow the file's path in an error.
        magic: first bytes of its files, if no supported format can begin with them.

    """

    name_pattern: str
    message: str
    magic: bytes | None = None


_TENSORFLOW_ADVICE: Final = (
    "load it with TensorFlow, and save its weights with Keras, "
    "model.save_weights('model.weights.h5'), or its arrays with safetensors.numpy.save_file"
)
_TENSORFLOW_CHECKPOINT: Final = UnsupportedFormat(
    r".*\.(ckpt|index|data-\d{5}-of-\d{5})",
    f"looks like a TensorFlow checkpoint, which is not supported; {_TENSORFLOW_ADVICE}",
)
_SAVED_MODEL: Final = UnsupportedFormat(
    r".*\.pb", f"looks like a TensorFlow model, which is not supported; {_TENSORFLOW_ADVICE}"
)
# Nearly all GGUF files are quantized already, and were converted from a supported format.
_GGUF: Final = UnsupportedFormat(
    r".*\.gguf",
    "looks like GGUF, which is not supported; use the checkpoint that it was converted from, or "
    "convert it back with transformers: "
    "AutoModelForCausalLM.from_pretrained(folder, gguf_file=name).save_pretrained(other)",
    b"GGUF",
)

UNSUPPORTED_FORMATS: Final = (_TENSORFLOW_CHECKPOINT, _SAVED_MODEL, _GGUF)


def unsupported_by_content(head: bytes) -> str | None:
    """Return the message for a file with these first bytes; None if they are of no such format."""
    found = (f for f in UNSUPPORTED_FORMATS if f.magic is not None and head.startswith(f.magic))
    return next((fmt.message for fmt in found), None)


def unsupported_by_name(name: str) -> str | None:
    """Return the message for a file of this name whose content is of no supported format."""
    found = (f for f in UNSUPPORTED_FORMATS if re.fullmatch(f.name_pattern, name.lower()))
    return next((fmt.message for fmt in found), None)


def unsupported_by_location(path: Path) -> str | None:
    """Return the message for the folder of a SavedModel, or the file prefix of a checkpoint."""
    if (path / "saved_model.pb").is_file():
        return _SAVED_MODEL.message
    if not path.exists() and path.with_name(f"{path.name}.index").is_file():
        return _TENSORFLOW_CHECKPOINT.message
    return None
