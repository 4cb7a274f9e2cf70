"""Rules that relate several fields of a manifest, or the manifest and the entries of its file."""

from __future__ import annotations

from reprlib import repr as short
from typing import TYPE_CHECKING, Final

from . import _dtypes, _zstd
from .errors import ManifestError

if TYPE_CHECKING:
    from ._container import Entry
    from ._manifest import Manifest, TensorInfo

# The stored dtypes of quantized tensors whose source is narrower than float32, by its dtype.
_QUANTIZED_DTYPES: Final = {name: ("F32", name) for name in _dtypes.NARROW}


def check_tensor(tensor: TensorInfo, size: object) -> None:
    """Check that the fields of one tensor agree.

    Args:
        tensor: the parsed fields.
        size: the field `size`, which the others determine.

    Raises:
        ManifestError: they do not agree.

    """
    if type(size) is not int or size != tensor.content_size:
        raise ManifestError(f"size is {short(size)}, expected {tensor.content_size}")
    quantized, source_dtype = tensor.quantized, tensor.source_dtype
    allowed = _QUANTIZED_DTYPES.get(source_dtype, ("F32",)) if quantized else (source_dtype,)
    if tensor.stored_dtype not in allowed:
        expected = " or ".join(map(repr, allowed))
        raise ManifestError(f"stored_dtype is {tensor.stored_dtype!r}, expected {expected}")
    if quantized and source_dtype not in _dtypes.FLOATING:
        raise ManifestError(f"source_dtype {source_dtype!r} cannot be quantized")
    if not quantized and (tensor.energy or tensor.noise):
        raise ManifestError("energy and noise must be 0 for codec raw, which is exact")


def check_entries(manifest: Manifest, entries: dict[str, Entry]) -> None:
    """Check that the tensors and the blocks of a model match the entries of the file.

    Raises:
        ManifestError: entries are misnamed, unused or used twice, two tensors have one name, or an
            entry is too small for its content.

    """
    tensors = manifest.tensors
    blocks = manifest.model.rest if manifest.model else ()
    names = [str(index) for index in range(len(entries))]
    if set(entries) != set(names):
        raise ManifestError("the entries are not named 0, 1, 2 and so on")
    for name, entry in entries.items():
        if entry.dtype != "U8" or len(entry.shape) != 1:
            raise ManifestError(f"entry {name} is not one-dimensional of dtype U8")
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise ManifestError("two tensors have the same name")
    used = sorted({tensor.entry for tensor in tensors}) + [block.entry for block in blocks]
    if sorted(used) != list(range(len(entries))):
        owners = "tensors and the blocks of the rest" if blocks else "tensors"
        raise ManifestError(f"the {owners} do not use exactly the entries of the file")
    _check_tied(tensors)
    stored = [entries[name].size for name in names]
    for tensor in tensors:
        _check_capacity(tensor.content_size, stored[tensor.entry], tensor.name)
    for block in blocks:
        _check_capacity(block.size, stored[block.entry])


def _check_tied(tensors: tuple[TensorInfo, ...]) -> None:
    first: dict[int, TensorInfo] = {}
    for tensor in tensors:
        other = first.setdefault(tensor.entry, tensor)
        if other is not tensor and _stored_facts(other) != _stored_facts(tensor):
            raise ManifestError(
                f"shares entry {tensor.entry} with {short(other.name)}, but is described "
                "differently",
                tensor=tensor.name,
            )


def _stored_facts(tensor: TensorInfo) -> tuple[object, ...]:
    """Return every fact that tied tensors must have in common."""
    return (
        tensor.shape,
        tensor.source_dtype,
        tensor.stored_dtype,
        tensor.codec,
        tensor.energy,
        tensor.noise,
    )


def _check_capacity(size: int, stored: int, tensor: str | None = None) -> None:
    """Reject content sizes that the entry cannot contain, before memory is allocated for them."""
    limit = _zstd.max_content_size(stored)
    if size > limit:
        raise ManifestError(
            f"size is {size}, but an entry of {stored} bytes has at most {limit} bytes of content",
            tensor=tensor,
        )
