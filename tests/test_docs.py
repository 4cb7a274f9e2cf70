"""What the documents claim that can be run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from hatch_vggq.config import parse
from vggq.packing.cli import main

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


@pytest.mark.parametrize("command", ["sweep", "report", "compare", "inspect"])
def test_the_options_of_a_command_are_those_that_it_has(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each option in the README is there, and each there is told of somewhere."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    there = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help", "--out"}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    usages = re.split(r"\n    (?=vggq )", readme)
    (usage,) = (text.split("\n\n")[0] for text in usages if text.startswith(f"vggq {command} "))
    assert set(re.findall(r"--[a-z-]+", usage)) <= there
    told = readme + (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    assert there <= set(re.findall(r"--[a-z-]+", told))


def test_every_link_between_documents_leads_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("*/*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"
