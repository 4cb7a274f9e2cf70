"""What packing came to, in a line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .sizes import megabytes

if TYPE_CHECKING:
    from .._manifest import Manifest
    from .options import Options


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
    return f"SQNR {manifest.sqnr:.2f} dB (worst {worst.sqnr:.2f} dB, {worst.name})"


def label(options: Options) -> str:
    """What sets a way of packing apart from others of the same source."""
    return f"{options.bits} bit{'s' if options.bits > 1 else ''}"
