"""What the documents claim that can be run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import vggq
from hatch_vggq.config import parse

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_documented_reader_reads_what_the_library_reads(packed: Path) -> None:
    (code,) = [code for code in blocks("docs/format.md", "python") if "def read(" in code]
    names: dict[str, Any] = {}
    exec(compile(code, "docs/format.md", "exec"), names)
    assert len(code.splitlines()) <= 40
    read: dict[str, NDArray[Any]] = dict(names["read"](packed))
    expected = vggq.load(packed)
    assert list(read) == list(expected)
    for name, array in expected.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


def test_the_quick_start_is_a_sound_configuration() -> None:
    table = tomllib.loads(blocks("README.md", "toml")[0])
    (model,) = parse(table["tool"]["hatch"]["build"]["hooks"]["vggq"]).models
    assert model.target.startswith("src/vgg19_style/")
    assert table["project"]["dependencies"] == ["hatch-vggq"]


def test_every_link_between_documents_leads_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("*/*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"
