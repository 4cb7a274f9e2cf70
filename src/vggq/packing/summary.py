"""Short texts about packed files and options, for messages, tables and pages."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._dtypes import FLOATING
from .._weights import underlying_file
from .goals import Goal, Size, Sqnr
from .sizes import megabytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._codecs import Codec
    from .._manifest import Manifest, TensorInfo
    from .._model_info import Member, Model
    from .._weights import Weights


def describe(manifest: Manifest, size: int) -> str:
    """Return sizes, ratio and SQNR of a packed file of `size` bytes."""
    restored = restored_size(manifest)
    content = f"{megabytes(restored)} of weights"
    if manifest.model is not None:
        share = weights_share(manifest.model, manifest.tensors)
        content = f"model of {megabytes(restored)}, {100 * share:.1f} % of it weights,"
    return f"{content} in {megabytes(size)} ({restored / size:.2f}x), {describe_sqnr(manifest)}"


def advise_on_accuracy(manifest: Manifest) -> str | None:
    """Return advice to judge the model itself, unless nothing is lost or it was judged already."""
    if math.isinf(manifest.sqnr) or manifest.options.get("evaluation"):
        return None
    return "SQNR is not accuracy; `vggq tune` checks the answers of the model"


def restored_size(manifest: Manifest) -> int:
    """Return the bytes of the restored files, or of the restored tensors if there are no files."""
    return manifest.float32_size if manifest.model is None else manifest.model.size


def weights_share(model: Model, tensors: Sequence[TensorInfo]) -> float:
    """Return the share of a model's bytes that are floating-point tensors."""
    return sum(weights_size(m, tensors) for m in model.members) / max(model.size, 1)


def weights_size(member: Member, tensors: Sequence[TensorInfo]) -> int:
    """Return the bytes of a file that are floating-point tensors."""
    return sum(
        piece.size
        for piece in member.pieces
        if piece.tensor is not None and tensors[piece.tensor].source_dtype in FLOATING
    )


def stored_rest_size(weights: Weights) -> int:
    """Return the bytes of a packed file that store the rest of its model; 0 without a model."""
    model, packed = weights.manifest.model, underlying_file(weights)
    return sum(packed.entry_size(block.entry) for block in model.rest) if model else 0


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


def bits_label(tensor: TensorInfo, size: int) -> str:
    """Return the bits per weight of a quantized tensor that takes `size` bytes; else "exact".

    Small exact tensors take far more bits per element than their dtype has, which says nothing.
    """
    return f"{8 * size / tensor.count:.2f}" if tensor.quantized else "exact"


def codec_label(codec: Codec) -> str:
    """Return a codec and the parameters that matter to a reader."""
    parameters = codec.parameters()
    scales = f", {parameters['scales']} scales" if "scales" in parameters else ""
    if "taps" in parameters:
        taps = parameters["taps"]
        return (codec.NAME if taps == 1 else f"{codec.NAME} of {taps}") + scales
    if "centroids" in parameters:
        return f"{codec.NAME} {parameters['centroids']}{scales}"
    return codec.NAME
