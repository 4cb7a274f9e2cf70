"""Short texts about packed files and options, for messages, tables and pages."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .goals import Goal, Size, Sqnr
from .sizes import megabytes

if TYPE_CHECKING:
    from .._codecs import Codec
    from .._manifest import Manifest


def describe(manifest: Manifest, size: int) -> str:
    """Return sizes, ratio and SQNR of a packed file of `size` bytes."""
    return (
        f"{megabytes(manifest.float32_size)} of weights in {megabytes(size)} "
        f"({manifest.float32_size / size:.2f}x), {describe_sqnr(manifest)}"
    )


def describe_sqnr(manifest: Manifest) -> str:
    """Return the overall SQNR and the SQNR of the worst tensor."""
    worst = manifest.worst
    if worst is None or math.isinf(worst.sqnr):
        return "exact"
    return f"SQNR {manifest.sqnr:.2f} dB (worst {worst.sqnr:.2f} dB, {printable(worst.name)})"


def printable(text: str) -> str:
    """Return untrusted text with its control characters escaped, so that a terminal is safe."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def goal_label(goal: Goal) -> str:
    """Return a label that distinguishes variants of one source."""
    if isinstance(goal, Sqnr):
        return f"{goal.sqnr:g} dB"
    if isinstance(goal, Size):
        return megabytes(goal.size)
    return f"{goal.bits} bit{'' if goal.bits == 1 else 's'}"


def goal_kind(goal: Goal) -> str:
    """Return the name of the series that variants with this kind of goal belong to."""
    if isinstance(goal, Sqnr):
        return "grid, by SQNR"
    return "grid, by size" if isinstance(goal, Size) else "codebooks"


def codec_label(codec: Codec) -> str:
    """Return a codec and the parameters that matter to a reader."""
    parameters = codec.parameters()
    if "taps" in parameters:
        taps = parameters["taps"]
        return codec.NAME if taps == 1 else f"{codec.NAME} of {taps}"
    return " ".join([codec.NAME, *map(str, parameters.values())])
