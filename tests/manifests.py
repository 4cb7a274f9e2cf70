"""A valid manifest, and functions to change it and to parse the result."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from vggq._codecs import Codebook, Raw
from vggq._container import Entry, Header
from vggq._manifest import Manifest, TensorInfo
from vggq._manifest_json import manifest_to_metadata, parse_manifest
from vggq.errors import FormatError

QUANTIZED = TensorInfo("w", (2, 3), "F16", "F32", 0, Codebook(4), 10.0, 0.1)
EXACT = TensorInfo("b", (3,), "I64", "I64", 1, Raw("I64"), 0.0, 0.0)
MANIFEST = Manifest(1, "1.5.7", "npz", "ab" * 32, {"bits": 2}, (QUANTIZED, EXACT))
ENTRIES = {"0": Entry("U8", (9,), 100, 9), "1": Entry("U8", (5,), 109, 5)}


def manifest_table() -> dict[str, Any]:
    """Return MANIFEST as parsed JSON."""
    table: dict[str, Any] = json.loads(manifest_to_metadata(MANIFEST)["vggq"][64:])
    return table


def with_digest(text: str) -> dict[str, str]:
    """Return the metadata of a file whose manifest is this text."""
    return {"vggq": hashlib.sha256(text.encode()).hexdigest() + text}


def to_metadata(table: object) -> dict[str, str]:
    """Return the metadata of a file whose manifest is this JSON value."""
    return with_digest(json.dumps(table))


def parse_error(metadata: dict[str, str], entries: dict[str, Entry] = ENTRIES) -> FormatError:
    """Return the error of parsing."""
    with pytest.raises(FormatError) as caught:
        parse_manifest(Header(entries, metadata))
    return caught.value


def restore_manifest(manifest: Manifest, entries: dict[str, Entry]) -> Manifest:
    """Write a manifest and parse it."""
    return parse_manifest(Header(entries, manifest_to_metadata(manifest)))
