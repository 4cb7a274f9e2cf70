"""Hold a packed file against its own manifest, and against its source."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .. import _dtypes
from ..errors import OptionError, VerificationError
from .metrics import measure
from .options import Options
from .sources import open_source

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .._manifest import Manifest, TensorInfo
    from .._weights import Weights
    from .sources import SourceTensor

# Sums of squares are stored to nine digits; their last bits depend on the processor.
_TOLERANCE: Final = 1e-8


def verify(weights: Weights, advance: Callable[[str], None] = lambda _: None) -> None:
    """Decode every tensor, and so check every checksum.

    Raises:
        DataError: a tensor's bytes are damaged.

    """
    for name in weights:
        _ = weights[name]
        advance(name)


def verify_against(
    weights: Weights,
    source: str | os.PathLike[str],
    advance: Callable[[str], None] = lambda _: None,
) -> None:
    """Compare with a source, read with the layout that the manifest records.

    What is stored exactly has to be equal, and what is quantized as near as its manifest says.

    Raises:
        VerificationError: a tensor is missing, too many, or not what the source holds.
        SourceError: the source cannot be read.
        DataError: a tensor's bytes are damaged.

    """
    options = recorded_options(weights.manifest)
    with open_source(source, options.reading) as opened:
        tensors = {tensor.name: tensor for tensor in opened.tensors}
        check_names(set(weights), set(tensors))
        for name in weights:
            _compare(weights.tensors[name], weights[name], tensors[name])
            advance(name)


def recorded_options(manifest: Manifest) -> Options:
    """The options that a file was packed with.

    Raises:
        VerificationError: they are of another version.

    """
    try:
        return Options.from_table(manifest.options)
    except OptionError as error:
        raise VerificationError(
            f"the manifest's options are of another version: {error}"
        ) from error


def check_names(packed: set[str], source: set[str]) -> None:
    """Refuse a source with other tensors than the packed file.

    Raises:
        VerificationError: there are names that only one of them has.

    """
    for names, what in (
        (source - packed, "missing from"),
        (packed - source, "not of the source in"),
    ):
        if names:
            raise VerificationError(f"{', '.join(sorted(names)[:5])}: {what} the packed file")


def _compare(info: TensorInfo, restored: NDArray[Any], tensor: SourceTensor) -> None:
    check_facts(info, tensor)
    values = _dtypes.widen(tensor.read(), tensor.dtype)
    if not info.quantized:
        if values.tobytes() != restored.tobytes():
            raise VerificationError(f"tensor {info.name!r}: differs, and it is stored exactly")
    elif not np.isfinite(values).all() or not _as_stated(info, *measure(values, restored)):
        raise VerificationError(f"tensor {info.name!r}: is not as near as the manifest says")


def check_facts(info: TensorInfo, tensor: SourceTensor) -> None:
    """Refuse a tensor that is not of the shape and the dtype that the packed file's came from.

    Raises:
        VerificationError: it is of another.

    """
    packed_as, is_now = (info.shape, info.source_dtype), (tensor.shape, tensor.dtype)
    if packed_as != is_now:
        raise VerificationError(
            f"tensor {info.name!r}: packed from {packed_as}, it is {is_now} now"
        )


def _as_stated(info: TensorInfo, energy: float, noise: float) -> bool:
    return math.isclose(energy, info.energy, rel_tol=_TOLERANCE) and math.isclose(
        noise, info.noise, rel_tol=_TOLERANCE
    )
