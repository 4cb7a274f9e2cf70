"""What a wheel says of its models in a software bill of materials: CycloneDX, as of PEP 770."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import vggq
from vggq.packing.goals import GOALS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from vggq import Manifest

NAME: Final = "hatch-vggq.cdx.json"

_SPECIFICATION: Final = "1.6"


@dataclass(frozen=True, slots=True)
class Package:
    """The package that the wheel is of."""

    name: str
    version: str


def render(package: Package, models: Iterable[tuple[str, Path, str]]) -> bytes:
    """The bill of materials of a wheel; equal wheels have equal ones.

    Args:
        package: whose wheel it is.
        models: of each, its path in the wheel, its packed file and the SHA-256 of that.

    """
    purl = f"pkg:pypi/{package.name}@{quote(package.version)}"
    content = {
        "bomFormat": "CycloneDX",
        "specVersion": _SPECIFICATION,
        "version": 1,
        "metadata": {
            "tools": {"components": [_library("hatch-vggq", version("hatch-vggq"))]},
            "component": _library(package.name, package.version) | {"bom-ref": purl, "purl": purl},
        },
        "components": [_component(*model) for model in models],
    }
    # From the content, and not by chance: a wheel is to be built twice to the same bytes.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content))
    return (json.dumps({"serialNumber": serial.urn} | content, indent=2) + "\n").encode()


def _library(name: str, release: str) -> dict[str, Any]:
    return {"type": "library", "name": name, "version": release}


def _component(name: str, path: Path, sha256: str) -> dict[str, Any]:
    with vggq.open(path) as weights:
        manifest = weights.manifest
    component = {
        "type": "machine-learning-model",
        "bom-ref": name,
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": sha256}],
        "properties": [
            {"name": f"vggq:{key}", "value": str(value)} for key, value in _facts(manifest).items()
        ],
    }
    return component | _provenance(manifest.options)


def _facts(manifest: Manifest) -> dict[str, object]:
    """What was measured and done, under names of our own: CycloneDX has none for it."""
    exact = not any(tensor.quantized for tensor in manifest.tensors)
    entries = {tensor.entry: tensor for tensor in manifest.tensors}
    return {
        "source:format": manifest.source_format,
        "source:sha256": manifest.source_sha256,
        "encoder": manifest.encoder,
        "zstd": manifest.zstd,
        **{f"asked:{goal}": manifest.options[goal] for goal in GOALS if manifest.options.get(goal)},
        "sqnr": "exact" if exact else f"{manifest.sqnr:.2f} dB",
        "tensors": len(manifest.tensors),
        "parameters": sum(tensor.count for tensor in entries.values()),
    }


def _provenance(options: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if options.get("license"):
        told["licenses"] = [{"expression": options["license"]}]
    if options.get("description"):
        told["description"] = options["description"]
    if options.get("url"):
        told["externalReferences"] = [{"type": "website", "url": options["url"]}]
    return told
