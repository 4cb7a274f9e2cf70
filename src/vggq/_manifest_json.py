"""The manifest of a packed file to bytes and back, every rule checked here.

docs/format.md describes the format. A packed file is a safetensors file whose metadata has one
key, ``vggq``: the manifest's SHA-256 in hexadecimal, then the manifest as canonical JSON.
"""

from __future__ import annotations

import hashlib
import json
from reprlib import repr as short
from typing import TYPE_CHECKING, Any, Final

from . import _dtypes, _zstd
from . import _fields as fields
from ._codecs import codec_from_table, codec_to_table
from ._container import Entry, Header, is_count, is_shape, parse_json
from ._manifest import Manifest, TensorInfo
from .errors import HeaderError, ManifestError, UnsupportedError

if TYPE_CHECKING:
    from ._codecs import Codec

VERSION: Final = 1
FIRST_READER: Final = "0.1.0"
"""The first release of hatch-vggq that reads format version 1."""

METADATA_KEY: Final = "vggq"


def manifest_metadata(manifest: Manifest) -> dict[str, str]:
    """The safetensors metadata that carries the manifest."""
    table = {
        "format": VERSION,
        "reader": FIRST_READER,
        "encoder": manifest.encoder,
        "zstd": manifest.zstd,
        "source": {"format": manifest.source_format, "sha256": manifest.source_sha256},
        "options": manifest.options,
        "tensors": [_tensor_table(tensor) for tensor in manifest.tensors],
    }
    text = json.dumps(table, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return {METADATA_KEY: hashlib.sha256(text.encode()).hexdigest() + text}


def _tensor_table(tensor: TensorInfo) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "source_dtype": tensor.source_dtype,
        "stored_dtype": tensor.stored_dtype,
        "entry": tensor.entry,
        "codec": codec_to_table(tensor.codec),
        "size": tensor.content_size,
        "energy": tensor.energy,
        "noise": tensor.noise,
    }


def parse_manifest(header: Header) -> Manifest:
    """Parse a manifest and prove that it describes the header's entries.

    Raises:
        ManifestError: it is missing or altered, or breaks a rule; the tensor and the field
            are named.
        UnsupportedError: it is of a later format version.

    """
    table = _verified_table(header.metadata)
    version = fields.require_field(table, "format", is_count, "a format version", "manifest")
    if version != VERSION:
        reader = fields.require_field(table, "reader", fields.is_text, "a release", "manifest")
        raise UnsupportedError(
            f"the file is of format version {version}, and this reader knows {VERSION}: "
            f"it takes hatch-vggq {reader} or newer"
        )
    fields.require_keys(table, _MANIFEST_KEYS, "manifest")
    manifest = _manifest_from_table(table)
    _check_entries(manifest.tensors, header.entries)
    return manifest


_MANIFEST_KEYS: Final = {"format", "reader", "encoder", "zstd", "source", "options", "tensors"}
_TENSOR_KEYS: Final = {
    "name", "shape", "source_dtype", "stored_dtype", "entry", "codec", "size", "energy", "noise",
}  # fmt: skip


def _verified_table(metadata: dict[str, str]) -> dict[str, Any]:
    if METADATA_KEY not in metadata:
        raise ManifestError("a safetensors file, but no packed one: its metadata has no key 'vggq'")
    if len(metadata) > 1:
        raise ManifestError("its metadata has other keys than 'vggq'")
    text = metadata[METADATA_KEY]
    digest, manifest = (
        text[: fields.DIGEST_LENGTH],
        text[fields.DIGEST_LENGTH :].encode("utf-8", "replace"),
    )
    if hashlib.sha256(manifest).hexdigest() != digest:
        raise ManifestError("the manifest's SHA-256 does not match: it was altered")
    try:
        return parse_json(manifest)
    except HeaderError as error:
        raise ManifestError(f"manifest: {error}") from error


def _manifest_from_table(table: dict[str, Any]) -> Manifest:
    source = fields.require_field(table, "source", fields.is_table, "a table", "manifest")
    fields.require_keys(source, {"format", "sha256"}, "source")
    tensors = fields.require_field(table, "tensors", fields.is_list, "a list", "manifest")
    return Manifest(
        encoder=fields.require_field(table, "encoder", is_count, "a version", "manifest"),
        zstd=fields.require_field(table, "zstd", fields.is_text, "a version", "manifest"),
        source_format=fields.require_field(source, "format", fields.is_text, "a string", "source"),
        source_sha256=fields.require_field(
            source, "sha256", fields.is_digest, "64 hexadecimal digits", "source"
        ),
        options=fields.require_field(
            table, "options", fields.is_plain_table, "a table", "manifest"
        ),
        tensors=tuple(_parse_tensor(index, item) for index, item in enumerate(tensors)),
    )


def _parse_tensor(index: int, table: object) -> TensorInfo:
    if not isinstance(table, dict) or not fields.is_text(table.get("name")):
        raise ManifestError(f"tensors[{index}]: expected a table with a name")
    where = f"tensor {short(table['name'])}"
    fields.require_keys(table, _TENSOR_KEYS, where)
    source_dtype = fields.require_field(
        table, "source_dtype", fields.is_dtype, "a known dtype", where
    )
    tensor = TensorInfo(
        name=table["name"],
        shape=tuple(fields.require_field(table, "shape", is_shape, "a list of sizes", where)),
        source_dtype=source_dtype,
        stored_dtype=fields.require_field(
            table, "stored_dtype", fields.is_dtype, "a known dtype", where
        ),
        entry=fields.require_field(table, "entry", is_count, "an entry's number", where),
        codec=_parse_codec(table["codec"], source_dtype, where),
        energy=fields.require_field(
            table, "energy", fields.is_measure, "a number of at least 0", where
        ),
        noise=fields.require_field(
            table, "noise", fields.is_measure, "a number of at least 0", where
        ),
    )
    _check_tensor(tensor, table["size"], where)
    return tensor


def _parse_codec(table: object, source_dtype: str, where: str) -> Codec:
    try:
        return codec_from_table(table, source_dtype)
    except ValueError as error:
        raise ManifestError(f"{where}: codec is {short(table)}: {error}") from error


def _check_tensor(tensor: TensorInfo, size: object, where: str) -> None:
    try:
        expected_size = tensor.content_size
    except ValueError as error:
        raise ManifestError(f"{where}: {error}") from error
    if type(size) is not int or size != expected_size:
        raise ManifestError(f"{where}: size is {short(size)}, expected {expected_size}")
    expected = "F32" if tensor.quantized else tensor.source_dtype
    if tensor.stored_dtype != expected:
        raise ManifestError(
            f"{where}: stored_dtype is {tensor.stored_dtype!r}, expected {expected!r}"
        )
    if tensor.quantized and tensor.source_dtype not in _dtypes.FLOATING:
        raise ManifestError(f"{where}: source_dtype {tensor.source_dtype!r} cannot be quantized")
    if not tensor.quantized and (tensor.energy or tensor.noise):
        raise ManifestError(f"{where}: energy and noise are not 0, and raw is exact")


def _check_entries(tensors: tuple[TensorInfo, ...], entries: dict[str, Entry]) -> None:
    if set(entries) != {str(number) for number in range(len(entries))}:
        raise ManifestError("the entries are not numbered from 0")
    for number, entry in entries.items():
        if entry.dtype != "U8" or len(entry.shape) != 1:
            raise ManifestError(f"entry {number} is not a list of bytes")
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise ManifestError("two tensors have one name")
    if {tensor.entry for tensor in tensors} != set(range(len(entries))):
        raise ManifestError("the tensors do not use all entries, or use more than there are")
    _check_tied(tensors)
    for tensor in tensors:
        _check_plausible(tensor, entries[str(tensor.entry)].size)


def _check_plausible(tensor: TensorInfo, stored: int) -> None:
    if tensor.content_size > _zstd.capacity(stored):
        raise ManifestError(
            f"tensor {short(tensor.name)}: size is {tensor.content_size}, which no entry of "
            f"{stored} bytes holds"
        )


def _check_tied(tensors: tuple[TensorInfo, ...]) -> None:
    first: dict[int, TensorInfo] = {}
    for tensor in tensors:
        other = first.setdefault(tensor.entry, tensor)
        if _storage(other) != _storage(tensor):
            raise ManifestError(
                f"tensor {short(tensor.name)}: entry {tensor.entry} is that of "
                f"{short(other.name)}, which is not alike"
            )


def _storage(tensor: TensorInfo) -> tuple[object, ...]:
    return (tensor.shape, tensor.source_dtype, tensor.codec, tensor.energy, tensor.noise)
