"""The bill of materials in a wheel: valid CycloneDX, correct, and reproducible."""

from __future__ import annotations

import hashlib
import json
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hatchling.builders.wheel import WheelBuilder

import vggq
from hatch_vggq.hooks import VggqBuildHook
from hatch_vggq.sbom import Package, ShippedModel, render_sbom
from tests.helpers import save_npz
from vggq.packing import pack
from vggq.packing.sources import hash_file

from .conftest import MODEL, Project, wheel_names

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MEMBER = "tiny-1.0.dist-info/sboms/hatch-vggq.cdx.json"
PROVENANCE = """\
license = "CC-BY-4.0 OR LicenseRef-Mine"
description = "What it is.\\nÜber zwei Zeilen."
url = "https://example.org/ü?a=1#b"
"""


def read(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(MEMBER)


def parsed(content: bytes) -> dict[str, Any]:
    """Validate a document with CycloneDX's schema, including formats, and parse it."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(content.decode()) is None
    table: dict[str, Any] = json.loads(content)
    return table


def properties(component: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in component["properties"]}


def test_sbom_describes_the_model_of_the_wheel(project: Project) -> None:
    project.configure(MODEL + PROVENANCE)
    result = project.build()
    assert result.code == 0, result.output
    bill = parsed(read(project.wheel))
    assert bill["metadata"]["component"]["purl"] == "pkg:pypi/tiny@1.0"
    (model,) = bill["components"]
    assert model["type"] == "machine-learning-model"
    assert model["name"] == "tiny/tiny.vggq"
    digest = hashlib.sha256(project.target.read_bytes()).hexdigest()
    assert model["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert model["licenses"] == [{"expression": "CC-BY-4.0 OR LicenseRef-Mine"}]
    assert model["description"] == "What it is.\nÜber zwei Zeilen."
    assert model["externalReferences"] == [
        {"type": "website", "url": "https://example.org/ü?a=1#b"}
    ]
    found = properties(model)
    with vggq.open(project.target) as weights:
        manifest = weights.manifest
    assert float(found.pop("vggq:sqnr").removesuffix(" dB")) > 40
    assert found == {
        "vggq:source:format": "npz",
        "vggq:source:sha256": hash_file(project.source),
        "vggq:encoder": str(manifest.encoder),
        "vggq:zstd": manifest.zstd,
        "vggq:asked:bits": "8",
        "vggq:tensors": "3",
        "vggq:parameters": str(64 * 32 + 64 + 5),
    }


def test_sbom_lists_two_models_in_order(project: Project, arrays: dict[str, np.ndarray]) -> None:
    save_npz(project.root / "weights" / "other.npz", {"steps": arrays["steps"]})
    other = MODEL.replace("weights/tiny", "weights/other").replace("tiny.vggq", "other.vggq")
    project.configure(MODEL + other + "bits = 3\n")
    assert project.build().code == 0
    first, second = parsed(read(project.wheel))["components"]
    assert (first["name"], second["name"]) == ("tiny/tiny.vggq", "tiny/other.vggq")
    assert properties(second)["vggq:sqnr"] == "exact"
    assert properties(second)["vggq:asked:bits"] == "3"


def test_sbom_is_equal_for_another_folder_and_for_the_sdist(
    project: Project, tmp_path: Path
) -> None:
    assert project.build().code == 0
    first = read(project.wheel)
    moved = Project(project.root.rename(tmp_path / "elsewhere"))
    moved.target.unlink()
    assert moved.build("sdist", "wheel").code == 0
    assert read(moved.wheel) == first
    moved.source.unlink()
    assert moved.build().code == 0
    assert read(moved.wheel) == first


def test_serial_number_depends_on_the_content(tmp_path: Path) -> None:
    source = save_npz(tmp_path / "s.npz", {"w": np.zeros((40, 40))})
    plain = pack(source, tmp_path / "a.vggq").target
    described = pack(source, tmp_path / "b.vggq", description="another").target
    package = Package("a", "1.0+local.1")
    rendered = [
        render_sbom(package, [ShippedModel("a.vggq", path, hash_file(path))])
        for path in (plain, plain, described)
    ]
    assert rendered[0] == rendered[1]
    first, other = parsed(rendered[0]), parsed(rendered[2])
    assert first["serialNumber"] != other["serialNumber"]
    assert first["metadata"]["component"]["purl"] == "pkg:pypi/a@1.0%2Blocal.1"


def test_sbom_false_leaves_it_out(project: Project) -> None:
    project.configure(f"{MODEL}[tool.hatch.build.hooks.vggq]\nsbom = false\n")
    assert project.build().code == 0
    assert MEMBER not in wheel_names(project.wheel)


def test_sbom_is_added_to_those_of_the_project(project: Project) -> None:
    (project.root / "own.cdx.json").write_text("{}")
    project.configure(MODEL + '[tool.hatch.build.targets.wheel]\nsbom-files = ["own.cdx.json"]\n')
    assert project.build().code == 0
    assert {MEMBER, MEMBER.replace("hatch-vggq", "own")} <= wheel_names(project.wheel)


def test_older_hatchling_gets_a_warning_and_no_sbom(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    builder = WheelBuilder(str(project.root))
    table = builder.config.hook_config["vggq"]
    root, config, metadata = builder.root, builder.config, builder.metadata
    hook = VggqBuildHook(root, table, config, metadata, root, "wheel")
    data: dict[str, Any] = {"artifacts": []}
    hook.initialize("standard", data)
    assert data == {"artifacts": ["/src/tiny/tiny.vggq"]}
    assert (
        "vggq: this version of hatchling cannot add an SBOM to a wheel; require "
        '"hatchling>=1.28", or set sbom = false'
    ) in capsys.readouterr().err.splitlines()
