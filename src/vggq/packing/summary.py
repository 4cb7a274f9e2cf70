"""What packing came to, in a line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .goals import MAX_BITS
from .options import Options
from .sizes import megabytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._codecs import Codec
    from .._manifest import Manifest


def describe(manifest: Manifest, size: int) -> str:
    """Sizes, ratio and fidelity of a packed file of `size` bytes; the weights as restored."""
    return (
        f"{megabytes(manifest.float32_size)} of weights in {megabytes(size)} "
        f"({manifest.float32_size / size:.2f}x), {fidelity(manifest)}"
    )


def fidelity(manifest: Manifest) -> str:
    """Overall SQNR and the worst tensor's."""
    worst = manifest.worst
    if worst is None or math.isinf(worst.sqnr):
        return "exact"
    return f"SQNR {manifest.sqnr:.2f} dB (worst {worst.sqnr:.2f} dB, {printable(worst.name)})"


def printable(text: str) -> str:
    """A stranger's text as it may be printed: what is no character, and could move one, escaped."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def asked(options: Mapping[str, object]) -> dict[str, object]:
    """Of a manifest's options those that are not as they are by default; `bits` always."""
    usual = Options(bits=MAX_BITS).to_table() | {"bits": None}
    return {key: value for key, value in options.items() if value != usual.get(key)}


def label(options: Options) -> str:
    """What sets a way of packing apart from others of the same source."""
    if options.sqnr is not None:
        return f"{options.sqnr:g} dB"
    if options.size is not None:
        return megabytes(options.size)
    return f"{options.bits} bit{'' if options.bits == 1 else 's'}"


def kind(options: Options) -> str:
    """What ways of packing that differ in their label have in common."""
    if options.sqnr is not None:
        return "grid, by fidelity"
    return "codebooks" if options.size is None else "grid, by size"


def codec_label(codec: Codec) -> str:
    """A codec and what of its parameters a reader cares for."""
    parameters = codec.parameters()
    if "taps" in parameters:
        taps = parameters["taps"]
        return codec.NAME if taps == 1 else f"{codec.NAME} of {taps}"
    return " ".join([codec.NAME, *map(str, parameters.values())])
