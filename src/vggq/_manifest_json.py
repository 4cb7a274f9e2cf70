"""The manifest as JSON in the metadata of a packed file: writing, parsing and validation.

docs/format.md describes the format. The metadata of a packed file has one key, ``vggq``. Its value
is the SHA-256 of the manifest, in hexadecimal, followed by the manifest.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from reprlib import repr as short
from typing import TYPE_CHECKING, Any, Final

from . import _fields as fields
from ._codecs import codec_from_table, codec_to_table
from ._json import is_count, is_shape, parse_json
from ._manifest import Manifest, TensorInfo
from ._manifest_checks import check_entries, check_tensor
from .errors import HeaderError, ManifestError, UnsupportedError

if TYPE_CHECKING:
    from ._codecs import Codec
    from ._container import Header
    from ._model_info import Model

FORMAT_VERSION: Final = 1
FIRST_READER: Final = "0.1.0"
"""The first release of hatch-vggq that reads this format version."""

METADATA_KEY: Final = "vggq"

_MANIFEST_KEYS: Final = {"format", "reader", "encoder", "zstd", "source", "options", "tensors"}
_MIN_HASHLIB: Final = 1 << 20
_MODEL_KEY: Final = "model"
_SHA256_MODULE: Final = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
_TENSOR_KEYS: Final = {
    "name", "shape", "source_dtype", "stored_dtype", "entry", "codec", "size", "energy", "noise",
}  # fmt: skip
# The fields of a tensor that are tested on their own, in this order.
_TENSOR_RULES: Final = (
    ("source_dtype", fields.is_dtype, "a known dtype"),
    ("shape", is_shape, "a list of sizes"),
    ("stored_dtype", fields.is_dtype, "a known dtype"),
    ("entry", is_count, "the index of an entry"),
    ("energy", fields.is_nonnegative, "a number of at least 0"),
    ("noise", fields.is_nonnegative, "a number of at least 0"),
)


def manifest_to_metadata(manifest: Manifest) -> dict[str, str]:
    """Return the safetensors metadata that contains the manifest."""
    table: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "reader": FIRST_READER,
        "encoder": manifest.encoder,
        "zstd": manifest.zstd,
        "source": {"format": manifest.source_format, "sha256": manifest.source_sha256},
        "options": manifest.options,
        "tensors": [_tensor_to_table(tensor) for tensor in manifest.tensors],
    }
    if manifest.model is not None:
        from ._model_json import model_to_table  # noqa: PLC0415 - few files have a model

        table[_MODEL_KEY] = model_to_table(manifest.model)
    text = json.dumps(table, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return {METADATA_KEY: _digest(text.encode()) + text}


def _tensor_to_table(tensor: TensorInfo) -> dict[str, Any]:
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
    """Parse the manifest of a packed file, and compare it with the header's entries.

    Raises:
        ManifestError: the manifest is missing, modified or invalid, or does not match the entries.
        UnsupportedError: the file has another format version.

    """
    table = _load_table(header.metadata)
    _check_version(table)
    keys = _MANIFEST_KEYS | (table.keys() & {_MODEL_KEY})
    fields.require_keys(table, keys, "manifest: ")
    manifest = _manifest_from_table(table)
    check_entries(manifest, header.entries)
    return manifest


def _load_table(metadata: dict[str, str]) -> dict[str, Any]:
    """Return the manifest as a table, after comparing its SHA-256 with the recorded one."""
    if METADATA_KEY not in metadata:
        raise ManifestError(
            f"a safetensors file, but not a packed file: its metadata has no key {METADATA_KEY!r}"
        )
    if len(metadata) > 1:
        raise ManifestError(f"its metadata has keys other than {METADATA_KEY!r}")
    value = metadata[METADATA_KEY]
    digest, text = value[: fields.DIGEST_LENGTH], value[fields.DIGEST_LENGTH :]
    manifest = text.encode("utf-8", "replace")
    if _digest(manifest) != digest:
        raise ManifestError("the SHA-256 of the manifest does not match: the file was modified")
    try:
        return parse_json(manifest)
    except HeaderError as error:
        raise ManifestError(f"manifest: {error.reason}") from error


def _digest(text: bytes) -> str:
    digest: str = _find_sha256(is_long=len(text) >= _MIN_HASHLIB)(text).hexdigest()
    return digest


# Cached, because each search for a module that does not exist takes its import lock: a process that
# is forked meanwhile would wait for the lock forever, and a signal handler that loads would fail.
@cache
def _find_sha256(*, is_long: bool) -> Any:
    # As in the standard library's `random`: hashlib takes some milliseconds to load OpenSSL, which
    # is faster only for long texts.
    for name in ("hashlib",) if is_long else (_SHA256_MODULE, "hashlib"):
        with suppress(ImportError):
            return import_module(name).sha256
    raise ImportError


def _check_version(table: dict[str, Any]) -> None:
    prefix = "manifest: "
    version = fields.require_field(table, "format", is_count, "a format version", prefix)
    if version != FORMAT_VERSION:
        reader = fields.require_field(table, "reader", fields.is_text, "a release", prefix)
        raise UnsupportedError(
            f"format version {version}, but this release reads version {FORMAT_VERSION}; "
            f"install hatch-vggq {reader} or later"
        )


def _manifest_from_table(table: dict[str, Any]) -> Manifest:
    prefix = "manifest: "
    source = fields.require_field(table, "source", fields.is_object, "an object", prefix)
    fields.require_keys(source, {"format", "sha256"}, "source: ")
    items = fields.require_field(table, "tensors", fields.is_list, "a list", prefix)
    tensors = tuple(_parse_tensor(index, item) for index, item in enumerate(items))
    return Manifest(
        encoder=fields.require_field(table, "encoder", is_count, "a version", prefix),
        zstd=fields.require_field(table, "zstd", fields.is_text, "a version", prefix),
        source_format=fields.require_field(
            source, "format", fields.is_text, "a string", "source: "
        ),
        source_sha256=fields.require_field(
            source, "sha256", fields.is_digest, "64 hexadecimal digits", "source: "
        ),
        options=fields.require_field(
            table,
            "options",
            fields.is_json_object,
            f"an object of at most {fields.MAX_DEPTH} levels",
            prefix,
        ),
        tensors=tensors,
        model=_parse_model(table[_MODEL_KEY], tensors) if _MODEL_KEY in table else None,
    )


def _parse_model(table: object, tensors: tuple[TensorInfo, ...]) -> Model:
    from ._model_checks import check_model  # noqa: PLC0415 - few files have a model
    from ._model_json import model_from_table  # noqa: PLC0415

    model = model_from_table(table, tensors)
    check_model(model, tensors)
    return model


def _parse_tensor(index: int, table: object) -> TensorInfo:
    if not isinstance(table, dict) or not fields.is_text(table.get("name")):
        raise ManifestError(f"manifest: tensors[{index}]: expected an object with a name")
    try:
        fields.require_keys(table, _TENSOR_KEYS)
        tensor = _tensor_from_table(table)
        check_tensor(tensor, table["size"])
    except ManifestError as error:
        error.locate(tensor=table["name"])
        raise
    return tensor


def _tensor_from_table(table: dict[str, Any]) -> TensorInfo:
    fields.require_valid(table, _TENSOR_RULES)
    codec = _parse_codec(table["codec"], table["source_dtype"])
    try:
        return TensorInfo(
            table["name"],
            tuple(table["shape"]),
            table["source_dtype"],
            table["stored_dtype"],
            table["entry"],
            codec,
            table["energy"],
            table["noise"],
        )
    except ValueError as error:
        raise ManifestError(str(error)) from error


def _parse_codec(table: object, source_dtype: str) -> Codec:
    try:
        return codec_from_table(table, source_dtype)
    except ValueError as error:
        raise ManifestError(f"codec is {short(table)}: {error}") from error
