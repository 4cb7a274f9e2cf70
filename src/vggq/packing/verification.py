"""Verify a packed file: its checksums, and that it matches its source."""

from __future__ import annotations

import hashlib
import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .. import _dtypes
from .._restore import ModelReader
from .._tensor_bytes import tensor_bytes
from .._weights import underlying_file
from ..errors import DataError, OptionError, VerificationError
from .metrics import measure_noise
from .model_layout import plan_model
from .options import Options
from .restored_file import RestoredFile
from .sources import open_source

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from .._buffers import Buffer
    from .._manifest import Manifest, TensorInfo
    from .._weights import Weights
    from .model_layout import MemberLayout
    from .sources import Source, SourceTensor

# Sums of squares are recorded with nine digits; their last bits depend on the processor.
_TOLERANCE: Final = 1e-8
_MAX_NAMES: Final = 5


def verify(weights: Weights, advance: Callable[[str], None] = lambda _: None) -> None:
    """Decode every tensor, which checks every checksum, and restore every file of a model.

    Args:
        weights: the open packed file.
        advance: called with the name of each tensor that was decoded.

    Raises:
        DataError: the bytes of a tensor are damaged, or the SHA-256 of a restored file is not the
            recorded one.

    """
    restored = _verify_digests(weights, advance)
    for name in weights:
        # The content of a tensor in no file is empty, or that of another one.
        if name not in restored:
            _ = weights[name]
            advance(name)


def _verify_digests(weights: Weights, advance: Callable[[str], None]) -> set[str]:
    """Compare the SHA-256 of each restored file, and return the names of the tensors in the files.

    Raises:
        DataError: a SHA-256 is not the recorded one, or an entry is damaged.

    """
    model = weights.manifest.model
    if model is None:
        return set()
    reader = ModelReader(underlying_file(weights), model)
    names: set[str] = set()
    for member in model.members:
        if _hash_chunks(reader.pieces(member)) != member.sha256:
            raise DataError(
                f"the restored file {member.path!r} does not have the SHA-256 of the manifest",
                path=weights.name,
            )
        indices = [piece.tensor for piece in member.pieces if piece.tensor is not None]
        for index in indices:
            names.add(weights.manifest.tensors[index].name)
            advance(weights.manifest.tensors[index].name)
    return names


def _hash_chunks(chunks: Iterable[Buffer]) -> str:
    sha256 = hashlib.sha256()
    for chunk in chunks:
        sha256.update(chunk)
    return sha256.hexdigest()


def verify_against(
    weights: Weights,
    source: str | os.PathLike[str],
    advance: Callable[[str], None] = lambda _: None,
) -> None:
    """Compare a packed file with its source, which is read as the manifest records.

    Raw tensors must be equal, and quantized tensors must have the error that the manifest states.
    The files of a model must be equal but for the quantized tensors and the checksums over them.

    Raises:
        VerificationError: a tensor is missing, unexpected, or different from the source.
        SourceError: the source cannot be read.
        DataError: the bytes of a tensor are damaged.

    """
    options = recorded_options(weights.manifest)
    with open_source(source, options.read) as opened:
        planned, layouts = plan_model(opened)
        tensors = {tensor.name: tensor for tensor in planned.tensors}
        check_same_names(set(weights), set(tensors))
        for name in weights:
            _verify_tensor(weights.tensors[name], weights[name], tensors[name], planned)
            advance(name)
        _verify_members(weights, planned, layouts)


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


def _verify_members(weights: Weights, source: Source, layouts: Sequence[MemberLayout]) -> None:
    """Compare the restored files with those of the source, with the restored tensors in these."""
    _verify_digests(weights, lambda _: None)
    model = weights.manifest.model
    expected = [(layout.path, layout.size) for layout in layouts]
    found = [(member.path, member.size) for member in weights.members]
    if expected != found or (model is not None and model.folders != source.folders):
        raise VerificationError("the files of the model have other names or sizes in the source")
    for layout, member in zip(layouts, weights.members, strict=True):
        if hash_with_tensors(layout, weights, source) != member.sha256:
            raise VerificationError(
                f"the file {member.path!r} differs from the source outside its tensors"
            )


def hash_with_tensors(layout: MemberLayout, weights: Weights, source: Source) -> str:
    """Return the SHA-256 of a file of a source, with tensors of a packed file in their places.

    Args:
        layout: the file.
        weights: the packed file.
        source: the source, whose tensors `weights` has with the same sizes.

    Raises:
        SourceError: the file cannot be read.
        DataError: the bytes of a tensor are damaged.

    """
    file = RestoredFile(layout, partial(_tensor_bytes, weights, source)).with_checksums()
    return _hash_chunks(content for _, content in file.chunks())


def _tensor_bytes(weights: Weights, source: Source, index: int) -> Buffer:
    # The packed file may list the tensors in another order.
    info = weights.tensors[source.tensors[index].name]
    return tensor_bytes(underlying_file(weights).content(info.name), info)


def _verify_tensor(
    info: TensorInfo, restored: NDArray[Any], tensor: SourceTensor, source: Source
) -> None:
    check_shape_and_dtype(info, tensor)
    stored = tensor.read()
    values = _dtypes.convert(stored, tensor.dtype)
    if not info.quantized:
        if values.tobytes() != restored.tobytes():
            raise VerificationError(
                "stored exactly, but different from the source", tensor=info.name
            )
        return
    # The files of a model hold the dtype of the source, so packing measures the error in it.
    exact = stored if source.restores_model and tensor.dtype == "F64" else values
    if not np.isfinite(values).all() or not _matches_record(info, *measure_noise(exact, restored)):
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
