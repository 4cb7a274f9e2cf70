"""The software bill of materials of a wheel's models: CycloneDX, placed as PEP 770 says."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import vggq
from vggq.packing import GOALS, flat_options, recorded_evaluation

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from vggq import Manifest, Member
    from vggq.packing import Evaluation

SBOM_NAME: Final = "hatch-vggq.cdx.json"

_SPEC_VERSION: Final = "1.6"


@dataclass(frozen=True, slots=True)
class Package:
    """The name and version of the package in the wheel."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class ShippedModel:
    """A packed file in the wheel.

    Attributes:
        name: the path in the wheel.
        path: the packed file in the project.
        sha256: the SHA-256 of the packed file.

    """

    name: str
    path: Path
    sha256: str


def render_sbom(package: Package, models: Iterable[ShippedModel]) -> bytes:
    """Return the bill of materials of a wheel as JSON; it depends on the arguments alone."""
    purl = f"pkg:pypi/{package.name}@{quote(package.version)}"
    content = {
        "bomFormat": "CycloneDX",
        "specVersion": _SPEC_VERSION,
        "version": 1,
        "metadata": {
            "tools": {"components": [_library("hatch-vggq", version("hatch-vggq"))]},
            "component": _library(package.name, package.version) | {"bom-ref": purl, "purl": purl},
        },
        "components": [_model_component(model) for model in models],
    }
    # A random serial number would make two builds of the same wheel differ.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content))
    return (json.dumps({"serialNumber": serial.urn} | content, indent=2) + "\n").encode()


def _library(name: str, release: str) -> dict[str, Any]:
    return {"type": "library", "name": name, "version": release}


def _model_component(model: ShippedModel) -> dict[str, Any]:
    with vggq.open(model.path) as weights:
        manifest = weights.manifest
        evaluation = recorded_evaluation(manifest.options, weights)
    properties = (_properties(manifest) | _evaluation_properties(evaluation)).items()
    component = {
        "type": "machine-learning-model",
        "bom-ref": model.name,
        "name": model.name,
        "hashes": [{"alg": "SHA-256", "content": model.sha256}],
        "properties": [{"name": f"vggq:{key}", "value": str(value)} for key, value in properties],
    }
    files = [_file_component(member) for member in weights.members]
    return component | _provenance(manifest.options) | ({"components": files} if files else {})


def _file_component(member: Member) -> dict[str, Any]:
    return {
        "type": "file",
        "name": member.path,
        "hashes": [{"alg": "SHA-256", "content": member.sha256}],
        "properties": [{"name": "vggq:size", "value": str(member.size)}],
    }


def _properties(manifest: Manifest) -> dict[str, object]:
    """Return the properties for which CycloneDX has no field of its own."""
    exact = not any(tensor.quantized for tensor in manifest.tensors)
    entries = {tensor.entry: tensor for tensor in manifest.tensors}
    options = flat_options(manifest.options)
    return {
        "source:format": manifest.source_format,
        "source:sha256": manifest.source_sha256,
        "encoder": manifest.encoder,
        "zstd": manifest.zstd,
        **{f"asked:{goal}": options[goal] for goal in GOALS if options.get(goal)},
        "sqnr": "exact" if exact else f"{manifest.sqnr:.2f} dB",
        "tensors": len(manifest.tensors),
        "parameters": sum(tensor.count for tensor in entries.values()),
    }


def _evaluation_properties(evaluation: Evaluation | None) -> dict[str, object]:
    """Return the metric that was measured on the restored tensors, and its values."""
    if evaluation is None:
        return {}
    return {
        "metric": evaluation.metric,
        "metric:original": evaluation.original,
        "metric:packed": evaluation.packed,
    }


def _provenance(options: dict[str, Any]) -> dict[str, Any]:
    """Return the CycloneDX fields for the licence, description and URL of a model."""
    fields: dict[str, Any] = {}
    if options.get("license"):
        fields["licenses"] = [{"expression": options["license"]}]
    if options.get("description"):
        fields["description"] = options["description"]
    if options.get("url"):
        fields["externalReferences"] = [{"type": "website", "url": options["url"]}]
    return fields
