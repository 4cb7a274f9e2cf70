"""Prediction of the places of files in an artifact, compared with what hatchling does."""

from __future__ import annotations

import os
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from hatch_vggq.messages import BuildError
from hatch_vggq.placement import Placement, default_build_data

from .conftest import PYPROJECT
from .in_process import BUILDERS

if TYPE_CHECKING:
    from pathlib import Path

# Each file has its own path as content. The name of the first part is that of the package.
FILES = (
    "src/tiny/__init__.py",
    "src/tiny/a.vggq",
    "src/tiny/models/b.vggq",
    "src/tiny/__pycache__/c.vggq",
    "src/other/d.vggq",
    "gen/e.vggq",
    "gen/sub/f.vggq",
    "gen/.venv/g.vggq",
    "top.vggq",
    "ignored/h.vggq",
)
WHEEL = "tool.hatch.build.targets.wheel"
SDIST = "tool.hatch.build.targets.sdist"
SETTINGS = {
    "nothing": "",
    "packages": f'[{WHEEL}]\npackages = ["src/tiny", "src/other"]\n',
    "packages of all targets": '[tool.hatch.build]\npackages = ["src/tiny"]\n',
    "sources": f'[{WHEEL}]\nsources = ["src"]\n',
    "sources of all targets": '[tool.hatch.build]\nsources = ["src"]\n',
    "sources of the sdist": f'[{SDIST}]\nsources = ["src", "gen/sub"]\n',
    "sources with other paths": (
        f'[{WHEEL}]\nonly-include = ["src/tiny", "gen"]\n'
        f'[{WHEEL}.sources]\n"src/tiny" = "tiny"\n"gen" = "tiny/gen"\n'
    ),
    "sources with a prefix": f'[{WHEEL}]\nonly-include = ["gen"]\nsources = {{ "" = "tiny" }}\n',
    "include": f'[{WHEEL}]\ninclude = ["src/tiny"]\n[{SDIST}]\ninclude = ["/src"]\n',
    "exclude": f'[{WHEEL}]\nexclude = ["*.vggq"]\n[{SDIST}]\nexclude = ["/gen"]\n',
    "only-include": f'[{WHEEL}]\nonly-include = ["src/tiny/a.vggq", "gen"]\n',
    "only-include of the sdist": f'[{SDIST}]\nonly-include = ["src", "gen/e.vggq"]\n',
    "only-packages": f'[{WHEEL}]\ninclude = ["src"]\nonly-packages = true\n',
    "skip-excluded-dirs": "[tool.hatch.build]\nskip-excluded-dirs = true\n",
    "skip in an include": f'[{WHEEL}]\ninclude = ["src", "gen"]\nskip-excluded-dirs = true\n',
    "force-include of a file": f'[{WHEEL}.force-include]\n"gen/e.vggq" = "tiny/e.vggq"\n',
    "force-include of a folder": f'[{WHEEL}.force-include]\n"gen" = "tiny/gen"\n',
    "force-include for all": '[tool.hatch.build.force-include]\n"gen" = "src/tiny/gen"\n',
    "force-include of a shipped file": (
        '[tool.hatch.build.force-include]\n"src/tiny/a.vggq" = "src/tiny/z.vggq"\n'
    ),
    "force-include onto a folder": (
        f'[{SDIST}.force-include]\n"gen/e.vggq" = "gen/new.vggq"\n"src/other" = "lib"\n'
    ),
    "force-include with sources": (
        f'[{WHEEL}]\npackages = ["src/tiny"]\n[{WHEEL}.force-include]\n"gen" = "src/tiny/gen"\n'
    ),
    "shared-data of a file": f'[{WHEEL}.shared-data]\n"gen/e.vggq" = "share/tiny/e.vggq"\n',
    "shared-data of a folder": f'[{WHEEL}.shared-data]\n"gen" = "share/tiny"\n',
    "shared-data with sources": (
        f'[{WHEEL}]\npackages = ["src/tiny"]\n[{WHEEL}.shared-data]\n"gen" = "src/share"\n'
    ),
    "shared-scripts": f'[{WHEEL}.shared-scripts]\n"gen/e.vggq" = "e"\n',
    "extra-metadata": f'[{WHEEL}.extra-metadata]\n"gen" = "gen"\n',
    "bypass-selection": f"[{WHEEL}]\nbypass-selection = true\n",
    "names": f"[{WHEEL}]\nstrict-naming = false\n[{WHEEL}.shared-data]\n'gen' = 'x'\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / ".gitignore").write_text("*.vggq\n/ignored/\n")
    return tmp_path


def configure(root: Path, settings: str, artifacts: list[str]) -> None:
    """Write pyproject.toml with an additional list of artifacts for all targets."""
    table = "[tool.hatch.build]\n"
    line = f"artifacts = {artifacts}\n"
    settings = settings if table in settings else f"{table}{settings}"
    (root / "pyproject.toml").write_text(PYPROJECT + settings.replace(table, f"{table}{line}", 1))


def read_archive(path: str) -> dict[str, str]:
    """Return the content of each file in a wheel or, below its top folder, in an sdist."""
    if path.endswith(".whl"):
        with zipfile.ZipFile(path) as wheel:
            return {name: wheel.read(name).decode() for name in wheel.namelist()}
    with tarfile.open(path) as sdist:
        files = {info.name.partition("/")[2]: sdist.extractfile(info) for info in sdist}
        return {name: file.read().decode() for name, file in files.items() if file}


def place(root: Path, kind: str, data: dict[str, Any] | None = None) -> Placement:
    builder = BUILDERS[kind](str(root))
    return Placement(builder, {**default_build_data(builder), **(data or {})})


@pytest.mark.parametrize("kind", BUILDERS)
@pytest.mark.parametrize("title", SETTINGS)
def test_predicted_names_are_those_of_the_archive(root: Path, kind: str, title: str) -> None:
    configure(root, SETTINGS[title], [])
    files = [name for name in FILES if name.endswith(".vggq")]
    placement = place(root, kind)
    predicted = {name: sorted(placement.find_names(name)) for name in files}
    artifacts = [f"/{path}" for name in files for path in placement.find_artifact_paths(name)]
    configure(root, SETTINGS[title], artifacts)
    archive = read_archive(next(BUILDERS[kind](str(root)).build(directory=str(root / "dist"))))
    found = {
        file: sorted(name for name, content in archive.items() if content == file) for file in files
    }
    assert predicted == found
    assert any(found.values())


@pytest.mark.parametrize("title", ["packages", "shared-data of a folder", "sources"])
def test_reserved_files_do_not_ship(root: Path, title: str) -> None:
    configure(root, SETTINGS[title], ["*.vggq"])
    names = ["src/tiny/a.vggq", "gen/e.vggq", "gen/sub/f.vggq"]
    builder = BUILDERS["wheel"](str(root))
    placement = Placement(builder, default_build_data(builder))
    reserved = {path for name in names for path in placement.find_reserved_paths(name)}
    assert reserved
    builder.config.build_reserved_paths.update(reserved)
    archive = read_archive(next(builder.build(directory=str(root / "dist"))))
    assert not set(names) & set(archive.values())


def test_build_data_of_other_hooks_counts(root: Path) -> None:
    configure(root, "", [])
    forced = {str(root / "gen"): "tiny/gen", "top.vggq": "tiny/top.vggq"}
    shared = {"ignored/h.vggq": "share/h.vggq"}
    placement = place(root, "wheel", {"force_include": forced, "shared_data": shared})
    assert placement.find_names("gen/sub/f.vggq") == ["tiny/gen/sub/f.vggq"]
    assert placement.find_names("top.vggq") == ["tiny/top.vggq"]
    assert placement.find_names("ignored/h.vggq") == ["tiny-1.0.data/data/share/h.vggq"]


def test_prediction_leaves_the_configuration_as_it_was(root: Path) -> None:
    configure(root, "", [])
    builder = BUILDERS["wheel"](str(root))
    builder.config.build_reserved_paths.add("tiny/mine")
    builder.config.build_force_include["/a"] = "b"
    data = default_build_data(builder) | {"artifacts": ["*.x"], "force_include": {"/c": "d"}}
    Placement(builder, data)
    assert builder.config.build_reserved_paths == {"tiny/mine"}
    assert builder.config.build_force_include == {"/a": "b"}
    assert builder.config.build_artifact_spec is None
    assert data["artifacts"] == ["*.x"]


def test_paths_outside_the_project_do_not_ship_unless_forced(root: Path, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    configure(root, f'[{WHEEL}.force-include]\n"{outside.as_posix()}" = "tiny/x"\n', [])
    placement = place(root, "wheel")
    assert placement.find_names(f"../{outside.name}/a.vggq") == ["tiny/x/a.vggq"]
    assert placement.find_names(os.fspath(outside / "b.vggq")) == ["tiny/x/b.vggq"]
    assert placement.find_names("../elsewhere/a.vggq") == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (f"[{WHEEL}]\npackages = 'src/tiny'\n", "Field `tool.hatch.build.targets.wheel.packages`"),
        (f"[{WHEEL}]\nshared-data = []\n", "Field `tool.hatch.build.targets.wheel.shared-data`"),
    ],
)
def test_wrong_settings_of_hatchling_are_build_errors(
    root: Path, settings: str, message: str
) -> None:
    configure(root, settings, [])
    with pytest.raises(BuildError) as caught:
        place(root, "wheel")
    assert str(caught.value).startswith(message)


def test_selected_folders_are_relative_to_the_project(root: Path) -> None:
    configure(root, SETTINGS["only-include"], [])
    assert sorted(place(root, "wheel").list_selected()) == ["gen", "src/tiny/a.vggq"]
    assert place(root, "sdist").list_selected() == []
