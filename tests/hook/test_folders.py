"""Builds of packages whose source is a folder."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import pytest

import vggq
from hatch_vggq.config import parse_config
from hatch_vggq.requirements import list_requirements
from tests.packing.sources.test_folder import (
    cache_snapshot,
    contents_of,
    outside_of_weights,
    save_folder,
)

from .conftest import Project, extract_sdist, sdist_names, wheel_names
from .in_process import build_here, fail_here
from .test_sbom import parsed, read

if TYPE_CHECKING:
    from collections.abc import Iterator

Capture = pytest.CaptureFixture[str]

KEY = "tool.hatch.build.hooks.vggq.models[0]"
WHEEL = "tiny-1.0-py2.py3-none-any.whl"
FOLDER = """
[[tool.hatch.build.hooks.vggq.models]]
source = "weights/minilm"
target = "src/tiny/minilm.vggq"
"""
INSIDE = FOLDER.replace("weights/minilm", "src/tiny/minilm")


@pytest.fixture
def folder(project: Project) -> Path:
    """The folder of a project whose source it is."""
    project.configure(FOLDER)
    return save_folder(project.root / "weights" / "minilm")


def packed_in(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read("tiny/minilm.vggq")


def test_wheel_and_sdist_have_the_packed_folder_alone(project: Project, folder: Path) -> None:
    result = project.build("sdist", "wheel")
    assert result.code == 0, result.output
    names = {name for name in wheel_names(project.wheel) if ".dist-info" not in name}
    assert names == {"tiny/__init__.py", "tiny/minilm.vggq"}
    assert not any("/weights/" in name for name in sdist_names(project.sdist))
    with vggq.as_file(packed_in(project.wheel)) as path:
        found = contents_of(path)
    assert found != contents_of(folder)
    assert outside_of_weights(found) == outside_of_weights(contents_of(folder))
    assert any("the folder has programs" in line for line in result.lines)


def test_wheel_from_the_sdist_has_the_same_packed_folder(
    project: Project, folder: Path, tmp_path: Path
) -> None:
    assert project.build("sdist", "wheel").code == 0
    extract_sdist(project.sdist, tmp_path)
    unpacked = Project(tmp_path / "tiny-1.0")
    result = unpacked.build()
    assert result.code == 0, result.output
    assert unpacked.wheel.read_bytes() == project.wheel.read_bytes()


def test_folder_in_the_package_is_left_out_as_a_whole(project: Project, capsys: Capture) -> None:
    folder = save_folder(project.root / "src" / "tiny" / "minilm")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock").write_text("")
    project.configure(INSIDE + 'exclude = ["assets/*"]\n')
    for kind in ("wheel", "sdist"):
        result = build_here(project, capsys, kind)
        assert result.code == 0, result.output
    shipped = {name for name in wheel_names(project.wheel) if "/minilm" in name}
    assert shipped == {"tiny/minilm.vggq"}
    in_sdist = {name for name in sdist_names(project.sdist) if "/minilm" in name}
    assert in_sdist == {"tiny-1.0/src/tiny/minilm.vggq"}


def test_folder_is_packed_again_if_a_file_or_a_pattern_changes(
    project: Project, folder: Path, capsys: Capture
) -> None:
    reused = "reused, because weights/minilm and the options are unchanged"
    assert build_here(project, capsys).code == 0
    assert reused in build_here(project, capsys).output
    (folder / "config.json").write_text("{}")
    assert reused not in build_here(project, capsys).output
    assert reused in build_here(project, capsys).output
    project.configure(FOLDER + 'exclude = ["assets/*"]\n')
    assert reused not in build_here(project, capsys).output
    assert reused in build_here(project, capsys).output


def test_only_files_with_weights_count_as_raw_weights(
    project: Project, folder: Path, capsys: Capture
) -> None:
    """An empty file, a license or settings may be in the package as well."""
    package = project.root / "src" / "tiny"
    (folder / "LICENSE").write_text("free")
    (package / "LICENSE").write_text("free")
    (package / "config.json").write_bytes((folder / "config.json").read_bytes())
    assert (folder / "assets" / "__init__.py").read_bytes() == b""
    result = build_here(project, capsys)
    assert result.code == 0, result.output
    assert {"tiny/LICENSE", "tiny/config.json"} <= wheel_names(project.wheel)


def test_weights_of_a_folder_under_another_name_are_an_error(
    project: Project, folder: Path, capsys: Capture
) -> None:
    copy = project.root / "src" / "tiny" / "copy.bin"
    copy.write_bytes((folder / "model.safetensors").read_bytes())
    assert (
        f"{KEY}.source: the raw weights weights/minilm/model.safetensors are in {WHEEL} as "
        "tiny/copy.bin; exclude that file"
    ) in fail_here(project, capsys).splitlines()


def test_sdist_can_have_the_folder_instead(
    project: Project, folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    shutil.rmtree(folder / "logs")
    project.configure(FOLDER + 'sdist = "source"\n')
    assert build_here(project, capsys, "sdist").code == 0
    shipped = {name for name in sdist_names(project.sdist) if "minilm" in name}
    assert "tiny-1.0/weights/minilm/model.safetensors" in shipped
    assert "tiny-1.0/src/tiny/minilm.vggq" not in shipped
    assert build_here(project, capsys).code == 0
    extract_sdist(project.sdist, tmp_path)
    unpacked = Project(tmp_path / "tiny-1.0")
    assert build_here(unpacked, capsys).code == 0
    assert packed_in(unpacked.wheel) == packed_in(project.wheel)


def test_sbom_lists_every_file_of_a_folder(project: Project, folder: Path, capsys: Capture) -> None:
    assert build_here(project, capsys).code == 0
    (component,) = parsed(read(project.wheel))["components"]
    names = {file["name"] for file in component["components"]}
    assert names == {path for path, content in contents_of(folder).items() if content is not None}
    properties = {item["name"]: item["value"] for item in component["properties"]}
    assert properties["vggq:source:format"] == "folder"


def test_clean_removes_the_packed_folder(project: Project, folder: Path, capsys: Capture) -> None:
    target = project.root / "src" / "tiny" / "minilm.vggq"
    assert build_here(project, capsys).code == 0
    assert target.is_file()
    assert build_here(project, capsys, clean_only=True).code == 0
    assert not target.exists()
    assert folder.is_dir()


def test_pattern_that_matches_no_file_names_its_key(
    project: Project, folder: Path, capsys: Capture
) -> None:
    project.configure(FOLDER + 'exclude = ["onnx/*"]\n')
    assert f"{KEY}.exclude: the pattern 'onnx/*' matches no file" in fail_here(project, capsys)


def test_hostile_folder_fails_the_build_by_name(
    project: Project, folder: Path, capsys: Capture
) -> None:
    (folder / "x").symlink_to("/etc/hostname")
    assert "weights/minilm/x: a link that leads outside of the folder" in fail_here(project, capsys)


def test_requirements_are_those_of_the_files_of_a_folder(project: Project, folder: Path) -> None:
    table = {"source": "weights/minilm", "target": "src/tiny/minilm.vggq"}
    (model,) = parse_config({"models": [table]}).models
    packing = ["kmeans1d>=0.4", "zstandard>=0.22"]
    assert list_requirements(project.root, [model]) == packing
    with h5py.File(folder / "tf_model.h5", "w") as file:
        file["w"] = [1.0, 2.0]
    found = list_requirements(project.root, [model])
    assert [line.partition(">")[0] for line in found] == ["h5py", "kmeans1d", "zstandard"]


def test_linked_folder_that_is_left_out_does_not_ship(
    project: Project, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hatchling follows links to folders."""
    folder = save_folder(project.root / "src" / "tiny" / "minilm")
    data = project.root / "data"
    (data / "more").mkdir(parents=True)
    (data / "more" / "large.txt").write_text("a large file")
    (data / "more" / "up").symlink_to("..")
    (folder / "linked").symlink_to("../../../data")
    project.configure(INSIDE + 'exclude = ["linked"]\n')
    result = build_here(project, capsys)
    assert result.code == 0, result.output
    assert not [name for name in wheel_names(project.wheel) if "/minilm/" in name]
    monkeypatch.setenv("HATCH_BUILD_NO_HOOKS", "true")
    assert build_here(project, capsys).code == 0
    assert "tiny/minilm/linked/more/large.txt" in wheel_names(project.wheel)


def test_links_with_too_many_paths_are_an_error(project: Project, capsys: Capture) -> None:
    folder = save_folder(project.root / "src" / "tiny" / "minilm")
    top = folder / ".cache"
    for number in range(12):
        (top / f"{number}").mkdir(parents=True)
        for name in "ab":
            (top / f"{number}" / name).symlink_to(f"../{number + 1}")
    project.configure(INSIDE)
    output = fail_here(project, capsys)
    assert "links lead to this folder by more than 100 paths; remove some" in output


def test_cache_snapshot_in_the_package_does_not_ship(project: Project) -> None:
    """The blobs, to which the files of a snapshot are links, are left out as well."""
    package = project.root / "src" / "tiny"
    folder = save_folder(package / "minilm")
    shutil.rmtree(folder / "logs")
    expected = contents_of(folder)
    snapshot = cache_snapshot(folder)
    shutil.rmtree(folder)
    source = snapshot.relative_to(project.root).as_posix()
    project.configure(INSIDE.replace('src/tiny/minilm"', f'{source}"', 1) + 'keep = ["*"]\n')
    result = project.build("sdist", "wheel")
    assert result.code == 0, result.output
    names = {name for name in wheel_names(project.wheel) if ".dist-info" not in name}
    assert names == {"tiny/__init__.py", "tiny/minilm.vggq"}
    assert not [name for name in sdist_names(project.sdist) if "/hub/" in name]
    with vggq.as_file(packed_in(project.wheel)) as path:
        assert contents_of(path) == expected


def test_blobs_of_files_that_a_snapshot_leaves_out_do_not_ship(
    project: Project, capsys: Capture
) -> None:
    folder = save_folder(project.root / "src" / "tiny" / "minilm")
    snapshot = cache_snapshot(folder)
    shutil.rmtree(folder)
    source = snapshot.relative_to(project.root).as_posix()
    project.configure(INSIDE.replace('src/tiny/minilm"', f'{source}"', 1) + 'exclude = ["*.json"]')
    assert build_here(project, capsys).code == 0
    names = {name for name in wheel_names(project.wheel) if ".dist-info" not in name}
    assert names == {"tiny/__init__.py", "tiny/minilm.vggq"}


def test_folder_with_a_link_to_itself_is_left_out(project: Project, capsys: Capture) -> None:
    folder = save_folder(project.root / "src" / "tiny" / "minilm")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "loop").symlink_to("loop")
    project.configure(INSIDE)
    assert build_here(project, capsys).code == 0
    assert not [name for name in wheel_names(project.wheel) if "/minilm/" in name]


def test_folder_is_left_out_though_a_part_of_it_cannot_be_read(
    project: Project, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_folder(project.root / "src" / "tiny" / "minilm")
    (folder / ".cache" / "secret").mkdir(parents=True)
    (folder / ".cache" / "lock").write_text("")
    project.configure(INSIDE)
    iterdir, refused = Path.iterdir, []

    def fail(path: Path) -> Iterator[Path]:
        if path.name == "secret":
            refused.append(path.name)
            raise PermissionError(13, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", fail)
    assert build_here(project, capsys).code == 0
    assert refused == ["secret"]
    assert not [name for name in wheel_names(project.wheel) if "/minilm/" in name]
