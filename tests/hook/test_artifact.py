"""Verification of finished artifacts: the messages, and the files after a failed build."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import save_file

import vggq
from tests.helpers import save_npz

from .conftest import MODEL, PYPROJECT, Project, sdist_names, wheel_names

if TYPE_CHECKING:
    from pathlib import Path

BASE = "tool.hatch.build.hooks.vggq"
KEY = f"{BASE}.models[0]"
WHEEL = "tiny-1.0-py2.py3-none-any.whl"


def errors_of_build(project: Project, *arguments: str) -> list[str]:
    """Run a build that must fail without leaving files, and return the hook's error lines."""
    before = project.files()
    result = project.build(*arguments)
    assert result.code == 1, result.output
    assert project.files() == before
    assert "Traceback" not in result.output
    starts = ("tool.", "project.", "  ", "src/")
    return [line for line in result.lines if line.startswith(starts) and not line.startswith("  -")]


def test_target_ships_even_if_excluded(project: Project) -> None:
    project.configure(MODEL + '[tool.hatch.build.targets.wheel]\nexclude = ["*.vggq"]\n')
    assert project.build().code == 0
    assert "tiny/tiny.vggq" in wheel_names(project.wheel)


def test_failing_second_model_removes_the_first_packed_file(project: Project) -> None:
    second = MODEL.replace("weights/tiny", "weights/gone").replace("tiny.vggq", "gone.vggq")
    project.configure(MODEL + second)
    key = KEY.replace("[0]", "[1]")
    assert errors_of_build(project) == [
        (
            f"{key}.source: weights/gone.npz: no such file, and no packed file src/tiny/gone.vggq "
            "to use instead; get it with the project's download script or `git lfs pull`, or "
            "commit the packed file"
        )
    ]


def test_artifact_over_the_limit_keeps_the_earlier_packed_file(project: Project) -> None:
    assert project.build().code == 0
    project.wheel.unlink()
    project.configure(f"[tool.hatch.build.hooks.vggq]\nsize-limit = 10\n{MODEL}")
    assert errors_of_build(project)[0].startswith(f"{BASE}.size-limit: {WHEEL} is ")
    assert project.target.is_file()


def test_raw_weights_under_another_name_are_an_error(project: Project) -> None:
    copy = project.root / "src" / "tiny" / "copy.bin"
    copy.write_bytes(project.source.read_bytes())
    assert errors_of_build(project) == [
        (
            f"{KEY}.source: the raw weights weights/tiny.npz are in {WHEEL} as tiny/copy.bin; "
            "exclude that file"
        )
    ]
    assert errors_of_build(project, "sdist") == [
        (
            f"{KEY}.source: the raw weights weights/tiny.npz are in tiny-1.0.tar.gz as "
            "src/tiny/copy.bin; exclude that file"
        )
    ]


def test_other_file_of_the_size_of_the_raw_weights_ships(project: Project) -> None:
    other = project.root / "src" / "tiny" / "other.bin"
    other.write_bytes(bytes(project.source.stat().st_size))
    assert project.build("wheel", "sdist").code == 0
    assert "tiny/other.bin" in wheel_names(project.wheel)


@pytest.fixture
def large(project: Project) -> Project:
    """A project whose weights take about 100 kB with 8 bits."""
    rng = np.random.default_rng(2)
    state = {
        "a": rng.standard_normal((300, 250)).astype(np.float32),
        "b": rng.standard_normal((100, 200)).astype(np.float32),
        "c": rng.standard_normal(900).astype(np.float32),
    }
    save_npz(project.source, state)
    return project


def configure_limit(project: Project, limit: str) -> None:
    project.configure(f"[tool.hatch.build.hooks.vggq]\nsize-limit = {limit}\n{MODEL}")


def test_artifact_over_the_limit_gets_options_that_fit(large: Project) -> None:
    configure_limit(large, '"60 kB"')
    lines = errors_of_build(large)
    assert lines[0].startswith(f"{BASE}.size-limit: {WHEEL} is ")
    assert lines[0].endswith(" kB, over the limit of 60.0 kB")
    assert [line.split()[2:] for line in lines[1:4]] == [
        ["a,", "8", "bits"],
        ["b,", "8", "bits"],
        ["c,", "stored", "exactly"],
    ]
    assert lines[4].startswith("  bits = 4 would fit: about ")
    size = re.fullmatch(r"  (size = [0-9]+) would fit: [0-9.]+ kB for the packed file", lines[5])
    assert size is not None
    request = "  for a request to the index: tiny.vggq is 383.6 kB as float32 and "
    assert lines[6].startswith(request)
    # Builds with the suggested options succeed.
    for advice in ("bits = 4", size[1]):
        large.configure(f"[tool.hatch.build.hooks.vggq]\nsize-limit = '60 kB'\n{MODEL}{advice}\n")
        assert large.build().code == 0


def test_failed_build_restores_the_old_packed_file(large: Project) -> None:
    assert large.build().code == 0
    large.wheel.unlink()
    before = large.target.read_bytes()
    limit = "[tool.hatch.build.hooks.vggq]\nsize-limit = 9000\n"
    large.configure(f"{limit}{MODEL}bits = 4\n")
    assert errors_of_build(large)[0].startswith(f"{BASE}.size-limit: ")
    assert large.target.read_bytes() == before
    # The same if a second model cannot be packed.
    second = MODEL.replace("weights/tiny", "weights/gone").replace("tiny.vggq", "gone.vggq")
    large.configure(MODEL + "bits = 4\n" + second)
    assert "weights/gone.npz" in errors_of_build(large)[0]
    assert large.target.read_bytes() == before


@pytest.mark.parametrize(
    ("meanwhile", "problem"),
    [
        (
            "path.unlink()",
            f"src/tiny/tiny.vggq is missing from {WHEEL}: it was removed while the archive",
        ),
        (
            "path.write_bytes(b'another')",
            f"src/tiny/tiny.vggq in {WHEEL} is not the file that this build prepared; another",
        ),
    ],
)
def test_file_changed_during_the_build_does_not_ship(
    project: Project, meanwhile: str, problem: str
) -> None:
    (project.root / "hatch_build.py").write_text(
        "from hatchling.builders.hooks.plugin.interface import BuildHookInterface\n"
        "from pathlib import Path\n"
        "class Hook(BuildHookInterface):\n"
        "    def initialize(self, version, build_data):\n"
        "        path = Path(self.root, 'src/tiny/tiny.vggq')\n"
        f"        {meanwhile}\n"
    )
    project.configure(MODEL + "[tool.hatch.build.hooks.custom]\n")
    result = project.build()
    assert result.code == 1
    assert any(line.startswith(f"{KEY}.target: {problem}") for line in result.lines), result.output
    assert not list(project.root.glob("dist/*"))
    # The file of the other build is kept.
    assert not project.target.exists() or project.target.read_bytes() == b"another"


def test_suggested_bits_count_only_tensors_without_an_override(large: Project) -> None:
    limit = "[tool.hatch.build.hooks.vggq]\nsize-limit = '92 kB'\n"
    own = 'tensors = [{ match = "a", bits = 8 }]\n'
    large.configure(f"{limit}{MODEL}bits = 6\n{own}")
    lines = errors_of_build(large)
    assert [line.split()[2:] for line in lines[1:3]] == [["a,", "8", "bits"], ["b,", "6", "bits"]]
    bits = re.fullmatch(r"  (bits = [1-5]) would fit: .*", lines[4])
    assert bits is not None
    large.configure(f"{limit}{MODEL}{bits[1]}\n{own}")
    assert large.build().code == 0


def test_other_large_file_is_named(large: Project) -> None:
    (large.root / "src" / "tiny" / "copy.safetensors").write_bytes(os.urandom(200_000))
    configure_limit(large, '"250 kB"')
    lines = errors_of_build(large)
    assert lines[4] == (
        "  200.0 kB tiny/copy.safetensors, before compression; exclude it if the package does not "
        "need it"
    )


def test_limit_that_no_bits_meet(large: Project) -> None:
    configure_limit(large, '"5 kB"')
    assert errors_of_build(large)[4] == (
        "  no value of bits would make it fit: split the package, or ask the index for a higher "
        "limit"
    )


def test_limit_that_no_size_meets(large: Project) -> None:
    # The other files of the wheel are already larger than the limit.
    limit = "[tool.hatch.build.hooks.vggq]\nsize-limit = 500\n"
    large.configure(f"{limit}{MODEL}sqnr = 30\n")
    assert errors_of_build(large)[4] == (
        "  no value of bits would make it fit: split the package, or ask the index for a higher "
        "limit"
    )


def test_size_near_the_limit_is_a_warning_and_false_disables_the_limit(large: Project) -> None:
    assert large.build().code == 0
    size = large.wheel.stat().st_size
    configure_limit(large, str(size))
    result = large.build()
    assert result.code == 0
    assert f"vggq: {WHEEL} is {size / 1e3:.1f} kB, 100 % of size-limit" in result.lines
    configure_limit(large, str(size * 2))
    assert "size-limit" not in large.build().output
    configure_limit(large, "false")
    assert large.build().code == 0


def test_sdist_source_ships_the_source_instead_of_the_packed_file(project: Project) -> None:
    project.configure(MODEL + 'sdist = "source"\n')
    result = project.build("sdist")
    assert result.code == 0, result.output
    assert (
        "vggq: weights/tiny.npz: shipped instead of the packed file (sdist = 'source')"
    ) in result.lines
    names = sdist_names(project.sdist)
    assert "tiny-1.0/weights/tiny.npz" in names
    assert "tiny-1.0/src/tiny/tiny.vggq" not in names
    assert project.build("wheel").code == 0
    with zipfile.ZipFile(project.wheel) as archive:
        direct = archive.read("tiny/tiny.vggq")
    # By default, build makes the wheel from the unpacked sdist, which has no packed file.
    assert project.build("sdist", "wheel").code == 0
    result = project.build_with_front_end()
    assert result.code == 0, result.output
    assert "weights in" in result.output
    with zipfile.ZipFile(project.wheel) as archive:
        assert archive.read("tiny/tiny.vggq") == direct
    assert "tiny/tiny.vggq" in wheel_names(project.wheel)


@pytest.fixture
def sharded(project: Project, arrays: dict[str, np.ndarray]) -> Project:
    """A project with its weights in three shards, which are inside the package."""
    folder = project.root / "src" / "tiny"
    weight_map = {}
    for number, (name, array) in enumerate(arrays.items()):
        shard = f"model-{number}.safetensors"
        save_file({name: array}, folder / shard)
        weight_map[name] = shard
    (folder / "model.index.json").write_text(json.dumps({"weight_map": weight_map}))
    project.source.unlink()
    project.configure(MODEL.replace("weights/tiny.npz", "src/tiny/model.index.json"))
    return project


def test_shards_do_not_ship(sharded: Project) -> None:
    result = sharded.build("sdist", "wheel")
    assert result.code == 0, result.output
    for names in (wheel_names(sharded.wheel), sdist_names(sharded.sdist)):
        assert not [name for name in names if "model" in name]


def test_shard_under_another_name_is_an_error(sharded: Project) -> None:
    folder = sharded.root / "src" / "tiny"
    (folder / "copy.bin").write_bytes((folder / "model-0.safetensors").read_bytes())
    assert errors_of_build(sharded) == [
        (
            f"{KEY}.source: the raw weights src/tiny/model-0.safetensors are in {WHEEL} as "
            "tiny/copy.bin; exclude that file"
        )
    ]


def test_sdist_source_ships_all_shards(sharded: Project) -> None:
    sharded.configure((sharded.root / "pyproject.toml").read_text() + 'sdist = "source"\n', "")
    result = sharded.build("sdist")
    assert result.code == 0, result.output
    shipped = {name for name in sdist_names(sharded.sdist) if "model" in name}
    assert shipped == {
        "tiny-1.0/src/tiny/model.index.json",
        *(f"tiny-1.0/src/tiny/model-{number}.safetensors" for number in range(3)),
    }


def test_changed_shard_is_packed_again(sharded: Project, arrays: dict[str, np.ndarray]) -> None:
    assert sharded.build().code == 0
    assert "reused" in sharded.build().output
    save_file({"steps": arrays["steps"] + 1}, sharded.root / "src/tiny/model-2.safetensors")
    assert "reused" not in sharded.build().output
    np.testing.assert_array_equal(vggq.load(sharded.target)["steps"], arrays["steps"] + 1)


def test_missing_shard_is_an_error(sharded: Project) -> None:
    (sharded.root / "src/tiny/model-2.safetensors").unlink()
    assert errors_of_build(sharded) == [
        (
            f"{KEY}.source: src/tiny/model-2.safetensors: no such file, but model.index.json lists "
            "it as a shard"
        )
    ]


def test_sdist_source_without_a_source_is_an_error(project: Project) -> None:
    project.configure(MODEL + 'sdist = "source"\n')
    project.source.unlink()
    assert errors_of_build(project, "sdist") == [
        (
            f"{KEY}.source: weights/tiny.npz: no such file; get it with the project's download "
            "script or `git lfs pull`"
        )
    ]


@pytest.mark.parametrize(
    ("dependencies", "expected"),
    [
        ("[]", 'the package needs hatch-vggq to restore its weights; add "hatch-vggq>=0.1.0"'),
        (
            "[\"hatch-vggq; extra == 'x'\"]",
            (
                "the package needs hatch-vggq to restore its weights, and 'hatch-vggq; extra == "
                '"x"\' never installs it by default; write "hatch-vggq>=0.1.0"'
            ),
        ),
        (
            "[\"hatch-vggq; python_version < '3'\"]",
            (
                "the package needs hatch-vggq to restore its weights, and 'hatch-vggq; "
                'python_version < "3"\' never installs it by default; write "hatch-vggq>=0.1.0"'
            ),
        ),
        (
            '["hatch-vggq<0.1"]',
            (
                "'hatch-vggq<0.1' excludes every release that reads the packed file; "
                'write "hatch-vggq>=0.1.0"'
            ),
        ),
        (
            '["hatch_vggq[cli]==0.0.*"]',
            (
                "'hatch-vggq[cli]==0.0.*' excludes every release that reads the packed file; "
                'write "hatch-vggq>=0.1.0"'
            ),
        ),
        (
            '["Hatch.VGGQ===0.1.0+x-y-z!"]',
            (
                "'hatch-vggq===0.1.0+x-y-z!' excludes every release that reads the packed file; "
                'write "hatch-vggq>=0.1.0"'
            ),
        ),
    ],
)
def test_dependencies_without_a_suitable_reader_are_an_error(
    project: Project, dependencies: str, expected: str
) -> None:
    head = PYPROJECT.replace('dependencies = ["hatch-vggq"]', f"dependencies = {dependencies}")
    project.configure(MODEL, head)
    before = project.files()
    assert errors_of_build(project) == [f"project.dependencies: {expected}"]
    assert project.files() == before


@pytest.mark.parametrize(
    "dependency",
    [
        "hatch-vggq",
        "Hatch_VGGQ[cli]",
        "hatch-vggq>=0.0.1",
        "hatch-vggq>0.1.0,<2",
        "hatch-vggq==0.*",
        "hatch-vggq~=0.1",
        "hatch-vggq>3; python_version > '3'",
        "hatch-vggq>=0.2",
    ],
)
def test_dependencies_with_a_suitable_reader_are_accepted(
    project: Project, dependency: str
) -> None:
    head = PYPROJECT.replace('dependencies = ["hatch-vggq"]', f'dependencies = ["{dependency}"]')
    project.configure(MODEL, head)
    result = project.build()
    assert result.code == 0, result.output


def test_environments_without_the_reader_are_a_warning(project: Project) -> None:
    line = "hatch-vggq; sys_platform == 'win32' or python_version < '3.11'"
    head = PYPROJECT.replace('["hatch-vggq"]', f'["{line}"]\nrequires-python = ">=3.10"')
    project.configure(MODEL, head)
    for kind in ("wheel", "sdist"):
        result = project.build(kind)
        assert result.code == 0, result.output
        assert result.lines[:2] == [
            (
                "vggq: project.dependencies: hatch-vggq is missing on Linux and macOS, where the "
                "package cannot restore its weights"
            ),
            (
                "vggq: project.requires-python: '>=3.10' admits Python 3.10, which hatch-vggq does "
                'not support; write ">=3.11"'
            ),
        ]


def test_dynamic_dependencies_are_not_checked(project: Project) -> None:
    (project.root / "hatch_build.py").write_text(
        "from hatchling.metadata.plugin.interface import MetadataHookInterface\n"
        "class Hook(MetadataHookInterface):\n"
        "    def update(self, metadata):\n"
        "        metadata['dependencies'] = ['numpy']\n"
    )
    head = PYPROJECT.replace('dependencies = ["hatch-vggq"]', 'dynamic = ["dependencies"]')
    project.configure("[tool.hatch.metadata.hooks.custom]\n" + MODEL, head)
    result = project.build()
    assert result.code == 0, result.output


def clean(project: Project) -> None:
    result = project.run(sys.executable, "-m", "hatchling", "build", "--clean-only")
    assert result.code == 0, result.output


def test_clean_removes_only_the_packed_file(project: Project) -> None:
    before = project.files()
    assert project.build().code == 0
    clean(project)
    assert project.files() - {f"dist/{WHEEL}"} == before


def test_clean_keeps_a_packed_file_without_a_source(project: Project) -> None:
    assert project.build().code == 0
    project.source.unlink()
    clean(project)
    assert project.target.is_file()


def test_clean_keeps_files_that_are_not_packed_files(project: Project) -> None:
    project.target.write_text("the user's own text")
    clean(project)
    assert project.target.read_text() == "the user's own text"


def test_target_with_pattern_characters_ships_alone(project: Project) -> None:
    name = "src/tiny/a [b] !c#.vggq"
    project.configure(MODEL.replace("src/tiny/tiny.vggq", name))
    (project.root / "src" / "tiny" / "a b !c#.vggq").write_text("not this one")
    result = project.build("sdist", "wheel")
    assert result.code == 0, result.output
    names = wheel_names(project.wheel)
    assert "tiny/a [b] !c#.vggq" in names
    assert "tiny/a b !c#.vggq" not in names


def test_simultaneous_builds_ship_the_same_packed_file(project: Project, tmp_path: Path) -> None:
    commands = [
        [sys.executable, "-m", "build", "--no-isolation", "-w", "-o", str(tmp_path / str(i))]
        for i in range(4)
    ]
    running = [
        subprocess.Popen(c, cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for c in commands
    ]
    outputs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4, outputs
    packed = set()
    for i in range(4):
        wheel = tmp_path / str(i) / WHEEL
        assert wheel_names(wheel) == {
            "tiny/__init__.py",
            "tiny/tiny.vggq",
            "tiny-1.0.dist-info/METADATA",
            "tiny-1.0.dist-info/RECORD",
            "tiny-1.0.dist-info/WHEEL",
            "tiny-1.0.dist-info/sboms/hatch-vggq.cdx.json",
        }
        with zipfile.ZipFile(wheel) as archive:
            packed.add(archive.read("tiny/tiny.vggq"))
    assert packed == {project.target.read_bytes()}
    assert not list(project.root.rglob("*.tmp"))


def test_builds_with_source_date_epoch_are_identical(project: Project) -> None:
    archives = []
    for _ in range(2):
        result = project.build("sdist", "wheel", SOURCE_DATE_EPOCH="1700000000")
        assert result.code == 0, result.output
        archives.append((project.sdist.read_bytes(), project.wheel.read_bytes()))
        project.target.unlink()
    assert archives[0] == archives[1]


SET_HOST_NAME = """\
import os, platform, socket
real = os.uname()
os.uname = lambda: os.uname_result((real[0], {name!r}, *real[2:]))
platform.node = socket.gethostname = lambda: {name!r}
"""


def test_build_is_independent_of_the_machine_and_the_user(project: Project, tmp_path: Path) -> None:
    built = []
    for number in range(2):
        name = f"builder-{number}"
        home = tmp_path / name
        moved = Project(home / "tiny")
        shutil.copytree(project.root, moved.root)
        for path in moved.root.rglob("*"):
            os.utime(path, (number * 1e6, number * 1e6))
        (home / "sitecustomize.py").write_text(SET_HOST_NAME.format(name=name))
        paths = os.pathsep.join(filter(None, [str(home), os.environ.get("PYTHONPATH")]))
        names = dict.fromkeys(("USER", "LOGNAME", "USERNAME", "HOSTNAME", "COMPUTERNAME"), name)
        places = dict.fromkeys(("HOME", "TMPDIR"), str(home))
        assert moved.run(
            sys.executable, "-c", "print(__import__('socket').gethostname())", PYTHONPATH=paths
        ).lines == [name]
        result = moved.build(
            "sdist", "wheel", SOURCE_DATE_EPOCH="1700000000", PYTHONPATH=paths, **names, **places
        )
        assert result.code == 0, result.output
        assert str(tmp_path).encode() not in moved.target.read_bytes()
        built.append([p.read_bytes() for p in (moved.sdist, moved.wheel, moved.target)])
    assert built[0] == built[1]
