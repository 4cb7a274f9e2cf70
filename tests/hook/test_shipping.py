"""Targets that would not ship: found before packing, with a path that would."""

from __future__ import annotations

import json
import shutil
import zipfile
from typing import TYPE_CHECKING

import pytest

import vggq

from .conftest import MODEL, PYPROJECT, Project, extract_sdist, sdist_names, wheel_names
from .in_process import build_here, fail_here

if TYPE_CHECKING:
    from pathlib import Path

KEY = "tool.hatch.build.hooks.vggq.models[0]"
WHEEL = "tool.hatch.build.targets.wheel"
SDIST = "tool.hatch.build.targets.sdist"


def model(target: str) -> str:
    return MODEL.replace("src/tiny/tiny.vggq", target)


def use_flat_layout(project: Project) -> None:
    shutil.move(project.root / "src/tiny", project.root / "tiny")
    (project.root / "src").rmdir()


@pytest.fixture
def no_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a build fail in another way if it packs."""
    monkeypatch.delattr("hatch_vggq.build.pack_with")


@pytest.mark.usefixtures("no_packing")
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize(
    ("target", "settings", "contains", "suggestion"),
    [
        ("tiny/tiny.vggq", "", "src/tiny", "src/tiny/tiny.vggq"),
        ("tiny/sub/a.vggq", "", "src/tiny", "src/tiny/sub/a.vggq"),
        ("elsewhere/tiny.vggq", "", "src/tiny", "src/tiny/tiny.vggq"),
        ("tiny.vggq", "", "src/tiny", "src/tiny/tiny.vggq"),
        ("weights/tiny.vggq", "", "src/tiny", "src/tiny/tiny.vggq"),
        ("src/tiny.vggq", "", "src/tiny", "src/tiny/tiny.vggq"),
        (
            "lib/b/tiny.vggq",
            f'[{WHEEL}]\npackages = ["src/tiny", "lib/a", "src/b", "c", "d"]\n',
            "c, d, lib/a and more",
            "src/b/tiny.vggq",
        ),
        (
            "tiny/tiny.vggq",
            f'[{WHEEL}]\nonly-include = ["src", "README.md"]\nsources = ["src"]\n',
            "README.md and src",
            "src/tiny/tiny.vggq",
        ),
        (
            "data/tiny.vggq",
            f'[{WHEEL}]\nonly-include = ["src"]\nsources = ["src"]\n',
            "src",
            "src/tiny/tiny.vggq",
        ),
        (
            "src/tiny/__pycache__/tiny.vggq",
            "",
            "src/tiny",
            "src/tiny/tiny.vggq",
        ),
    ],
)
def test_target_outside_the_shipped_folders_gets_a_suggestion(
    project: Project,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    target: str,
    settings: str,
    contains: str,
    suggestion: str,
) -> None:
    (project.root / "README.md").write_text("")
    project.configure(model(target) + settings)
    expected = (
        f"{KEY}.target: {target} would not ship: the wheel contains only {contains}; write target "
        f'= "{suggestion}"'
    )
    if kind == "sdist" and "__pycache__" in target:
        reason = "the wheel contains only src/tiny"
        expected = expected.replace(reason, "hatchling leaves out its folder")
    assert fail_here(project, capsys, kind) == expected


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_src_target_in_a_flat_layout_gets_a_suggestion_that_works(
    project: Project, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    use_flat_layout(project)
    assert fail_here(project, capsys, kind) == (
        f"{KEY}.target: src/tiny/tiny.vggq would not ship: the wheel contains only tiny; write "
        'target = "tiny/tiny.vggq"'
    )
    project.configure(model("tiny/tiny.vggq"))
    assert build_here(project, capsys, kind).code == 0
    names = wheel_names(project.wheel) if kind == "wheel" else sdist_names(project.sdist)
    assert {"wheel": "tiny/tiny.vggq", "sdist": "tiny-1.0/tiny/tiny.vggq"}[kind] in names


def test_suggestion_is_not_the_target_of_another_model(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    other = model("elsewhere/tiny.vggq").replace("weights/tiny.npz", "weights/other.npz")
    project.configure(MODEL + other)
    assert fail_here(project, capsys) == (
        f"{KEY.replace('0', '1')}.target: elsewhere/tiny.vggq would not ship: the wheel contains "
        f"only src/tiny; list it in {WHEEL}.force-include"
    )


@pytest.mark.parametrize(
    ("target", "choice"),
    [
        ("src/mypackage/tiny.vggq", ""),
        ("src/mypackage/small.vggq", ', or write target = "src/tiny/small.vggq"'),
    ],
)
def test_second_table_of_a_source_is_advised_to_change_the_first(
    project: Project, capsys: pytest.CaptureFixture[str], target: str, choice: str
) -> None:
    project.configure(MODEL + model(target))
    assert fail_here(project, capsys) == (
        f"{KEY.replace('0', '1')}.target: {target} would not ship: the wheel contains only "
        f"src/tiny; {KEY} already packs weights/tiny.npz; move the options of this table there"
        f"{choice}"
    )


def test_single_module_gets_force_include_as_advice_that_works(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(project.root / "src")
    (project.root / "tiny.py").write_text("")
    project.configure(model("gen/tiny.vggq"))
    assert fail_here(project, capsys) == (
        f"{KEY}.target: gen/tiny.vggq would not ship: the wheel contains only tiny.py; list it in "
        f"{WHEEL}.force-include"
    )
    project.configure(
        model("gen/tiny.vggq") + f'[{WHEEL}.force-include]\n"gen/tiny.vggq" = "tiny.vggq"\n'
    )
    result = build_here(project, capsys)
    assert result.code == 0, result.output
    assert "tiny.vggq" in wheel_names(project.wheel)


def test_sdist_that_leaves_out_the_target_is_found_before_packing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    force = f'[{WHEEL}.force-include]\n"gen/tiny.vggq" = "tiny/tiny.vggq"\n'
    project.configure(f'{model("gen/tiny.vggq")}{force}[{SDIST}]\nonly-include = ["src"]\n')
    assert fail_here(project, capsys, "sdist") == (
        f"{KEY}.target: gen/tiny.vggq would not ship: the sdist contains only src; write target = "
        '"src/tiny/tiny.vggq"'
    )
    assert build_here(project, capsys, "wheel").code == 0


def test_sdist_that_leaves_out_the_source_is_found_before_packing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.configure(f'{MODEL}sdist = "source"\n[{SDIST}]\nonly-include = ["src"]\n')
    assert fail_here(project, capsys, "sdist") == (
        f"{KEY}.source: weights/tiny.npz would not ship: the sdist contains only src; list it in "
        f"{SDIST}.force-include"
    )


def test_skipped_folder_of_an_sdist_is_named(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.root / ".gitignore").write_text("*.vggq\n/weights/\n/src/tiny/made/\n/dist/\n")
    skip = f"[{SDIST}]\nskip-excluded-dirs = true\n"
    project.configure(model("src/tiny/made/tiny.vggq") + skip)
    assert fail_here(project, capsys, "sdist") == (
        f"{KEY}.target: src/tiny/made/tiny.vggq would not ship: hatchling leaves out its folder; "
        'write target = "src/tiny/tiny.vggq"'
    )


def test_wheel_is_not_judged_while_an_sdist_is_built_for_other_models(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    own = MODEL.replace("build.hooks", "build.targets.wheel.hooks")
    project.configure(model("elsewhere/tiny.vggq") + own)
    assert build_here(project, capsys, "sdist").code == 0
    assert "tiny-1.0/elsewhere/tiny.vggq" in sdist_names(project.sdist)


HOOK = """\
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
class Hook(BuildHookInterface):
    def initialize(self, version, build_data):
        if self.target_name == "wheel":
            build_data["force_include"]["gen/tiny.vggq"] = "tiny/other.vggq"
"""


@pytest.mark.parametrize("is_first", [False, True])
def test_other_hooks_may_ship_the_target(
    project: Project, capsys: pytest.CaptureFixture[str], *, is_first: bool
) -> None:
    (project.root / "hatch_build.py").write_text(HOOK)
    table = "[tool.hatch.build.hooks.custom]\n"
    tables = (table, model("gen/tiny.vggq")) if is_first else (model("gen/tiny.vggq"), table)
    project.configure("".join(tables))
    for kind in ("sdist", "wheel"):
        result = build_here(project, capsys, kind)
        assert result.code == 0, result.output
    assert "tiny/other.vggq" in wheel_names(project.wheel)


def test_target_that_a_later_hook_does_not_ship_is_found_in_the_wheel(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.root / "hatch_build.py").write_text(HOOK.partition("    def")[0] + "    pass\n")
    project.configure(f"{model('tiny/tiny.vggq')}[tool.hatch.build.hooks.custom]\n")
    assert fail_here(project, capsys).splitlines()[-1] == (
        f"{KEY}.target: tiny/tiny.vggq is missing from tiny-1.0-py2.py3-none-any.whl: the wheel "
        'contains only src/tiny; write target = "src/tiny/tiny.vggq"'
    )
    assert not (project.root / "tiny").exists()


def test_project_of_another_name_gets_the_message_of_hatchling(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.configure(head=PYPROJECT.replace('name = "tiny"', 'name = "other"'))
    assert "Unable to determine which files to ship" in fail_here(project, capsys)
    # An sdist contains everything.
    result = build_here(project, capsys, "sdist")
    assert result.code == 0, result.output


def test_files_of_a_later_hook_need_no_selection(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = HOOK.replace("gen/tiny.vggq", "src/tiny/__init__.py")
    (project.root / "hatch_build.py").write_text(hook)
    table = "[tool.hatch.build.hooks.custom]\n"
    project.configure(MODEL + table, PYPROJECT.replace('name = "tiny"', 'name = "other"'))
    result = build_here(project, capsys)
    assert result.code == 0, result.output


def test_editable_build_does_not_need_a_selection(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    mode = '[tool.hatch.build]\ndev-mode-dirs = ["src"]\n'
    project.configure(mode + MODEL, PYPROJECT.replace('name = "tiny"', 'name = "other"'))
    result = build_here(project, capsys, version="editable")
    assert result.code == 0, result.output
    assert project.target.is_file()


def unpack(project: Project, folder: Path) -> Project:
    extract_sdist(project.sdist, folder)
    return Project(folder / "tiny-1.0")


@pytest.mark.parametrize("sdist", ["packed", "source"])
@pytest.mark.parametrize("settings", ["[tool.hatch.build]\n", f"[{SDIST}]\n"])
def test_wheel_can_be_built_from_an_sdist_that_moves_files(
    project: Project,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    settings: str,
    sdist: str,
) -> None:
    inside = project.root / "src" / "tiny" / "raw.npz"
    project.source.rename(inside)
    tables = MODEL.replace("weights/tiny.npz", "src/tiny/raw.npz") + f'sdist = "{sdist}"\n'
    project.configure(f'{tables}{settings}sources = ["src"]\n')
    assert build_here(project, capsys, "wheel").code == 0
    packed = project.target.read_bytes()
    result = build_here(project, capsys, "sdist")
    assert result.code == 0, result.output
    shipped = {"packed": "tiny-1.0/tiny/tiny.vggq", "source": "tiny-1.0/tiny/raw.npz"}
    names = sdist_names(project.sdist)
    assert {name for name in shipped.values() if name in names} == {shipped[sdist]}
    unpacked = unpack(project, tmp_path)
    result = build_here(unpacked, capsys)
    assert result.code == 0, result.output
    assert "tiny/tiny.vggq" in wheel_names(unpacked.wheel)
    assert "tiny/raw.npz" not in wheel_names(unpacked.wheel)
    assert (unpacked.root / "tiny/tiny.vggq").read_bytes() == packed
    assert not (unpacked.root / "src").exists()


def test_sdist_that_no_wheel_can_be_built_from_gets_the_reason(
    project: Project, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    project.configure(f'{MODEL}[tool.hatch.build]\npackages = ["src/tiny"]\n')
    assert build_here(project, capsys, "sdist").code == 0
    unpacked = unpack(project, tmp_path)
    assert fail_here(unpacked, capsys) == (
        f"{KEY}.target: tiny/tiny.vggq would not ship: the wheel is built from src/tiny, but the "
        "sdist has src/tiny/tiny.vggq as tiny/tiny.vggq; write `packages` and `sources` below "
        f"{WHEEL}, so that they do not change the sdist"
    )


def test_packed_file_in_a_shared_folder_ships_although_git_ignores_it(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.root / "gen").mkdir()
    (project.root / "gen" / "other.vggq").write_text("ignored")
    (project.root / "weights" / "readme").write_text("")
    shared = f'[{WHEEL}.shared-data]\n"gen" = "share/tiny"\n"weights" = "share/weights"\n'
    project.configure(model("gen/tiny.vggq") + shared)
    (project.root / ".gitignore").write_text("*.vggq\n/dist/\n")
    result = build_here(project, capsys)
    assert result.code == 0, result.output
    shipped = {name for name in wheel_names(project.wheel) if "/data/" in name}
    # The raw weights are left out of shared folders as well.
    assert shipped == {
        "tiny-1.0.data/data/share/tiny/tiny.vggq",
        "tiny-1.0.data/data/share/weights/readme",
    }


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ('force-include]\n"gen/tiny.vggq" = "tiny/tiny.vggq"', "tiny/tiny.vggq"),
        ('force-include]\n"gen" = "tiny/gen"', "tiny/gen/tiny.vggq"),
        ('shared-data]\n"gen/tiny.vggq" = "s/t.vggq"', "tiny-1.0.data/data/s/t.vggq"),
        ('shared-scripts]\n"gen/tiny.vggq" = "t.vggq"', "tiny-1.0.data/scripts/t.vggq"),
        ('extra-metadata]\n"gen/tiny.vggq" = "t"', "tiny-1.0.dist-info/extra_metadata/t"),
    ],
)
def test_packed_file_is_verified_where_it_ships(
    project: Project, capsys: pytest.CaptureFixture[str], setting: str, name: str
) -> None:
    project.configure(model("gen/tiny.vggq") + f"[{WHEEL}.{setting}\n")
    result = build_here(project, capsys)
    assert result.code == 0, result.output
    with vggq.open(project.root / "gen/tiny.vggq") as weights:
        assert weights.tensors
    assert name in wheel_names(project.wheel)
    # The bill of materials names the file in the wheel.
    with zipfile.ZipFile(project.wheel) as wheel:
        sbom = json.loads(wheel.read("tiny-1.0.dist-info/sboms/hatch-vggq.cdx.json"))
    assert [component["name"] for component in sbom["components"]] == [name]
