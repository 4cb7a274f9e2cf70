"""Verify a packed file: its checksums, and that it matches its source."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .. import _dtypes
from ..errors import OptionError, VerificationError
from .metrics import measure_noise
from .options import Options
from .sources import open_source

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .._manifest import Manifest, TensorInfo
    from .._weights import Weights
    from .sources import SourceTensor

# Sums of squares are recorded with nine digits; their last bits depend on the processor.
_TOLERANCE: Final = 1e-8
_MAX_NAMES: Final = 5


def verify(weights: Weights, advance: Callable[[str], None] = lambda _: None) -> None:
    """Decode every tensor, which checks every checksum.

    Args:
        weights: the open packed file.
        advance: called with the name of each tensor that was decoded.

    Raises:
        DataError: the bytes of a tensor are damaged.

    """
    for name in weights:
        _ = weights[name]
        advance(name)


def verify_against(
    weights: Weights,
    source: str | os.PathLike[str],
    advance: Callable[[str], None] = lambda _: None,
) -> None:
    """Compare a packed file with its source, which is read as the manifest records.

    Raw tensors must be equal, and quantized tensors must have the error that the manifest states.

    Raises:
        VerificationError: a tensor is missing, unexpected, or different from the source.
        SourceError: the source cannot be read.
        DataError: the bytes of a tensor are damaged.

    """
    options = recorded_options(weights.manifest)
    with open_source(source, options.read) as opened:
        tensors = {tensor.name: tensor for tensor in opened.tensors}
        check_same_names(set(weights), set(tensors))
        for name in weights:
            _verify_tensor(weights.tensors[name], weights[name], tensors[name])
            advance(name)


def recorded_options(manifest: Manifest) -> Options:
    """Return the options that a file was packed with.

    Raises:
        VerificationError: another version recorded them.

    """
    try:
        return Options.from_record(manifest.options)
    except OptionError as error:
        raise VerificationError(
            f"the manifest's options were recorded by another version: {error}"
        ) from error


def check_same_names(packed: set[str], source: set[str]) -> None:
    """Reject a source whose tensors are not those of the packed file.

    Raises:
        VerificationError: names exist on one side only.

    """
    for names, where in (
        (source - packed, "only in the source"),
        (packed - source, "only in the packed file"),
    ):
        if names:
            raise VerificationError(f"{where}: {', '.join(sorted(names)[:_MAX_NAMES])}")


def _verify_tensor(info: TensorInfo, restored: NDArray[Any], tensor: SourceTensor) -> None:
    check_shape_and_dtype(info, tensor)
    values = _dtypes.convert(tensor.read(), tensor.dtype)
    if not info.quantized:
        if values.tobytes() != restored.tobytes():
            raise VerificationError(
                "stored exactly, but different from the source", tensor=info.name
            )
    elif not np.isfinite(values).all() or not _matches_record(
        info, *measure_noise(values, restored)
    ):
        raise VerificationError("the error is not the one in the manifest", tensor=info.name)


def check_shape_and_dtype(info: TensorInfo, tensor: SourceTensor) -> None:
    """Reject a tensor whose shape or dtype differs from the one that was packed.

    Raises:
        VerificationError: the tensor has another shape or dtype.

    """
    recorded, found = (info.shape, info.source_dtype), (tensor.shape, tensor.dtype)
    if recorded != found:
        raise VerificationError(
            f"packed from {recorded[1]} of shape {recorded[0]}, the source has {found[1]} of shape "
            f"{found[0]}",
            tensor=info.name,
        )


def _matches_record(info: TensorInfo, energy: float, noise: float) -> bool:
    return math.isclose(energy, info.energy, rel_tol=_TOLERANCE) and math.isclose(
        noise, info.noise, rel_tol=_TOLERANCE
    )
