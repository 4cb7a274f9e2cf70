"""Claims of the documents that can be tested."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

import vggq
from hatch_vggq.config import parse_config
from vggq._codecs import Grid
from vggq.packing import pack
from vggq.packing.cli import main
from vggq.packing.evaluations import digest_tensors
from vggq.packing.options import OPTION_NAMES, OPTIONALLY_RECORDED, Options

from .helpers import save_npz
from .packed_models import small_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("sample_project/**/*.md")]
COMMANDS: Final = (
    "init",
    "pack",
    "inspect",
    "verify",
    "compare",
    "sweep",
    "tune",
    "report",
    "unpack",
    "vendor",
    "completion",
)
PACKAGES: Final = {
    "## The run time": "src/vggq",
    "## Packing": "src/vggq/packing",
    "### Sources": "src/vggq/packing/sources",
    "## The hook": "hatch_vggq",
}


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def code_blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", read(document), flags=re.MULTILINE | re.DOTALL)


def section(document: str, heading: str) -> str:
    """Return the text from a heading, of which the beginning is enough, to the next heading."""
    _, _, text = read(document).partition(f"\n{heading}")
    return re.split(r"^#", text, maxsplit=1, flags=re.MULTILINE)[0]


def table_keys(text: str, header: str) -> list[str]:
    """Return the code in the first column of the table with this header, row by row."""
    _, _, rows = text.partition(f"| {header} |")
    table = rows.split("\n\n")[0]
    columns = [row.split("|")[1] for row in table.splitlines() if row.startswith("|")]
    return [name for column in columns for name in re.findall(r"`(.+?)`", column)]


def documented_reader() -> dict[str, Any]:
    """Return the functions of the reader in the format page."""
    blocks = code_blocks("docs/format.md", "python")
    (code,) = [code for code in blocks if "def read(" in code]
    (restore,) = [code for code in blocks if "def restore(" in code]
    assert len(code.splitlines()) <= 60
    names: dict[str, Any] = {}
    exec(compile(code, "docs/format.md", "exec"), names)
    exec(compile(restore, "docs/format.md", "exec"), names)
    return names


def test_documented_reader_agrees_with_library(packed: Path) -> None:
    arrays: dict[str, NDArray[Any]] = dict(documented_reader()["read"](packed))
    expected = vggq.load(packed)
    assert list(arrays) == list(expected)
    for name, array in expected.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_documented_reader_saturates_float64(tmp_path: Path) -> None:
    values = np.array([1e300, -1e300, np.inf, -np.inf, np.nan, 1 / 3])
    target = pack(save_npz(tmp_path / "s.npz", {"w": values}), tmp_path / "s.vggq").target
    ((_, array),) = documented_reader()["read"](target)
    np.testing.assert_array_equal(array, vggq.load(target)["w"])


def test_documented_reader_restores_models(tmp_path: Path) -> None:
    """The model has all dtypes but those of eight bits, and all codecs but the grid."""
    model = small_model()
    left_out = {
        stored.info.name
        for stored in model.tensors
        if stored.info.source_dtype.startswith("F8") or isinstance(stored.info.codec, Grid)
    }
    model.tensors = [stored for stored in model.tensors if stored.info.name not in left_out]
    model.members = {
        path: [part for part in parts if part not in left_out]
        for path, parts in model.members.items()
    }
    path = tmp_path / "m.vggq"
    path.write_bytes(model.build())
    reader = documented_reader()
    assert dict(reader["restore"](path)) == model.contents()
    found = {stored.info.source_dtype for stored in model.tensors if stored.info.quantized}
    assert found == {"F16", "BF16", "F32", "F64"}
    expected = vggq.load(path)
    for name, array in reader["read"](path):
        np.testing.assert_array_equal(array, expected[name])


def test_quick_start_is_a_valid_configuration() -> None:
    table = tomllib.loads(code_blocks("README.md", "toml")[0])
    (model,) = parse_config(table["tool"]["hatch"]["build"]["hooks"]["vggq"]).models
    assert model.target.startswith("src/vgg19_style/")
    assert table["project"]["dependencies"] == ["hatch-vggq"]


def test_hook_reference_lists_every_key_of_a_model() -> None:
    documented = table_keys(read("docs/hook.md"), "key of a model")
    assert sorted(documented) == sorted(["source", "target", "sdist", *OPTION_NAMES])


def test_format_page_lists_the_recorded_options() -> None:
    documented = table_keys(section("docs/format.md", "### Options"), "key")
    assert documented == list(Options().to_record())


def test_format_page_lists_the_options_that_are_recorded_if_given() -> None:
    text = section("docs/format.md", "### Options")
    documented = table_keys(text, "key of an option that few files need")
    # `scale` is a key of `quantization`.
    assert ["scale", *documented] == list(OPTIONALLY_RECORDED)


def test_documented_digest_of_an_evaluation_is_that_of_the_library(packed: Path) -> None:
    sha256 = hashlib.sha256()
    for name, array in sorted(vggq.load(packed).items()):
        shape = json.dumps(array.shape)
        sha256.update(name.encode() + b"\0" + array.dtype.str.encode() + b"\0")
        sha256.update(shape.encode() + b"\0" + array.tobytes())
    assert digest_tensors(vggq.load(packed)) == sha256.hexdigest()


@pytest.mark.parametrize("command", COMMANDS)
def test_command_line_page_names_the_options_of_a_command(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compare both ways: the usage on the page with --help, and --help with both pages."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    usage, _, _ = capsys.readouterr().out.partition("\nexample")
    options = set(re.findall(r"--[a-z-]+", usage)) - {"--help", "--out"}
    documented = set(re.findall(r"--[a-z-]+", usage_of(command)))
    assert documented <= options
    if command == "sweep":
        documented |= set(re.findall(r"--[a-z-]+", usage_of("pack") + read("docs/report.md")))
    options -= {option for option in options if f"--no-{option[2:]}" in documented}
    assert options <= documented


def usage_of(command: str) -> str:
    """Return the lines that show how to call a command, on the page on the command line."""
    usages = re.split(r"\n    (?=vggq )", read("docs/cli.md"))
    return next(text.split("\n\n")[0] for text in usages if text.startswith(f"vggq {command} "))


@pytest.mark.parametrize("heading", PACKAGES)
def test_development_page_lists_every_module(heading: str) -> None:
    package = ROOT / PACKAGES[heading]
    text = section("docs/development.md", heading)
    listed = table_keys(text, "module") or table_keys(text, "module of `sources/`")
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    packages = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")} - {"packing/"}
    assert {name for name in listed if not is_inner(name)} >= modules | packages
    files = {path.name for path in package.rglob("*.py")}
    named = set(re.findall(r"`(\w+\.py)`", text))
    assert named <= files


@pytest.mark.parametrize("package", ["vggq", "vggq.packing"])
def test_development_page_shows_the_import_contract(package: str) -> None:
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = [c["layers"] for c in contracts if c.get("containers") == [package]]
    shown = "".join(f"    {layer}\n" for layer in layers if layer != "packing")
    assert f"\n\n{shown}\n" in section("docs/development.md", "## Imports")


def is_inner(name: str) -> bool:
    return "/" in name.rstrip("/")


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Yield the file and the anchor of each link to another place of the project."""
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        yield (page.parent / name if name else page), anchor


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_to_a_file_and_a_heading(page: Path) -> None:
    for target, anchor in links(page):
        assert target.exists(), f"{target} does not exist"
        assert not anchor or anchor in anchors(target), f"{target.name} has no heading #{anchor}"
