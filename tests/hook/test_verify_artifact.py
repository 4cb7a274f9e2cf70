"""Finished archives that must not be published: each failure's lines, and what it leaves."""

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


def told(project: Project, *arguments: str) -> list[str]:
    """The lines of a build that has to fail, from the hook's first on; no archive may be left."""
    before = project.files()
    result = project.build(*arguments)
    assert result.code == 1, result.output
    assert project.files() == before
    assert "Traceback" not in result.output
    starts = ("tool.", "project.", "  ", "src/")
    return [line for line in result.lines if line.startswith(starts) and not line.startswith("  -")]


def test_a_target_that_the_packages_leave_out(project: Project) -> None:
    project.configure(MODEL.replace("src/tiny/tiny.vggq", "elsewhere/tiny.vggq"))
    assert told(project) == [
        (
            f"{KEY}.target: elsewhere/tiny.vggq is not in {WHEEL}: the build target's packages, "
            "include or exclude leave it out"
        )
    ]


def test_a_target_ships_though_it_is_excluded(project: Project) -> None:
    project.configure(MODEL + '[tool.hatch.build.targets.wheel]\nexclude = ["*.vggq"]\n')
    assert project.build().code == 0
    assert "tiny/tiny.vggq" in wheel_names(project.wheel)


def test_a_second_model_that_fails_takes_the_first_away(project: Project) -> None:
    second = MODEL.replace("weights/tiny", "weights/gone").replace("tiny.vggq", "gone.vggq")
    project.configure(MODEL + second)
    key = KEY.replace("[0]", "[1]")
    assert told(project) == [
        (
            f"{key}.source: weights/gone.npz: no such file beside pyproject.toml, and no "
            "src/tiny/gone.vggq that was packed before"
        )
    ]


def test_what_was_there_before_stays(project: Project) -> None:
    assert project.build().code == 0
    project.wheel.unlink()
    project.configure(f"[tool.hatch.build.hooks.vggq]\nsize-limit = 10\n{MODEL}")
    assert told(project)[0].startswith(f"{BASE}.size-limit: {WHEEL} is ")
    assert project.target.is_file()


def test_raw_weights_under_another_name(project: Project) -> None:
    copy = project.root / "src" / "tiny" / "copy.bin"
    copy.write_bytes(project.source.read_bytes())
    assert told(project) == [
        (
            f"{KEY}.source: the raw weights weights/tiny.npz are in {WHEEL} as tiny/copy.bin: "
            "exclude them"
        )
    ]
    assert told(project, "-s") == [
        (
            f"{KEY}.source: the raw weights weights/tiny.npz are in tiny-1.0.tar.gz as "
            "src/tiny/copy.bin: exclude them"
        )
    ]


@pytest.fixture
def large(project: Project) -> Project:
    """Weights that take about 100 kB as codes of 8 bits."""
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


def test_an_archive_over_the_limit(large: Project) -> None:
    configure_limit(large, '"60 kB"')
    lines = told(large)
    assert lines[0].startswith(f"{BASE}.size-limit: {WHEEL} is ")
    assert lines[0].endswith(" kB, over 60.0 kB")
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
    # The advice is good.
    for advice in ("bits = 4", size[1]):
        large.configure(f"[tool.hatch.build.hooks.vggq]\nsize-limit = '60 kB'\n{MODEL}{advice}\n")
        assert large.build().code == 0


def test_a_build_that_fails_puts_the_old_packed_file_back(large: Project) -> None:
    assert large.build().code == 0
    large.wheel.unlink()
    before = large.target.read_bytes()
    limit = "[tool.hatch.build.hooks.vggq]\nsize-limit = 9000\n"
    large.configure(f"{limit}{MODEL}bits = 4\n")
    assert told(large)[0].startswith(f"{BASE}.size-limit: ")
    assert large.target.read_bytes() == before
    # A second model that cannot be packed takes nothing away from the first.
    second = MODEL.replace("weights/tiny", "weights/gone").replace("tiny.vggq", "gone.vggq")
    large.configure(MODEL + "bits = 4\n" + second)
    assert "weights/gone.npz" in told(large)[0]
    assert large.target.read_bytes() == before


@pytest.mark.parametrize(
    ("meanwhile", "told_of"),
    [
        ("path.unlink()", f"src/tiny/tiny.vggq is not in {WHEEL}: the build target's packages"),
        (
            "path.write_bytes(b'another')",
            f"src/tiny/tiny.vggq in {WHEEL} is not what this build prepared: it was written",
        ),
    ],
)
def test_what_another_build_writes_meanwhile_does_not_ship(
    project: Project, meanwhile: str, told_of: str
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
    assert any(line.startswith(f"{KEY}.target: {told_of}") for line in result.lines), result.output
    assert not list(project.root.glob("dist/*"))
    # What is there is the other build's.
    assert not project.target.exists() or project.target.read_bytes() == b"another"


def test_the_width_that_would_fit_is_of_tensors_without_a_goal_of_their_own(
    large: Project,
) -> None:
    limit = "[tool.hatch.build.hooks.vggq]\nsize-limit = '92 kB'\n"
    own = 'tensors = [{ match = "a", bits = 8 }]\n'
    large.configure(f"{limit}{MODEL}bits = 6\n{own}")
    lines = told(large)
    assert [line.split()[2:] for line in lines[1:3]] == [["a,", "8", "bits"], ["b,", "6", "bits"]]
    bits = re.fullmatch(r"  (bits = [1-5]) would fit: .*", lines[4])
    assert bits is not None
    large.configure(f"{limit}{MODEL}{bits[1]}\n{own}")
    assert large.build().code == 0


def test_what_else_is_large_is_named(large: Project) -> None:
    (large.root / "src" / "tiny" / "copy.safetensors").write_bytes(os.urandom(200_000))
    configure_limit(large, '"250 kB"')
    lines = told(large)
    assert lines[4] == (
        "  200.0 kB tiny/copy.safetensors, before compression: exclude it, if it need not ship"
    )


def test_a_limit_that_no_width_meets(large: Project) -> None:
    configure_limit(large, '"5 kB"')
    assert told(large)[4] == (
        "  no number of bits would fit: split the package, or ask for a higher limit"
    )


def test_a_fidelity_that_no_size_would_make_fit(large: Project) -> None:
    # What else is in the wheel takes it all.
    limit = "[tool.hatch.build.hooks.vggq]\nsize-limit = 500\n"
    large.configure(f"{limit}{MODEL}sqnr = 30\n")
    assert told(large)[4] == (
        "  no number of bits would fit: split the package, or ask for a higher limit"
    )


def test_near_the_limit_is_a_warning_and_false_is_no_limit(large: Project) -> None:
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


def test_an_sdist_of_the_source(project: Project) -> None:
    project.configure(MODEL + 'sdist = "source"\n')
    result = project.build("-s")
    assert result.code == 0, result.output
    assert "vggq: weights/tiny.npz: shipped as it is, for builds from the floats" in result.lines
    names = sdist_names(project.sdist)
    assert "tiny-1.0/weights/tiny.npz" in names
    assert "tiny-1.0/src/tiny/tiny.vggq" not in names
    assert project.build("-w").code == 0
    with zipfile.ZipFile(project.wheel) as archive:
        direct = archive.read("tiny/tiny.vggq")
    # Both: the wheel is built from the unpacked sdist, where the packed file is not.
    assert project.build("-s", "-w").code == 0
    result = project.run(sys.executable, "-m", "build", "--no-isolation")
    assert result.code == 0, result.output
    assert "weights in" in result.output
    with zipfile.ZipFile(project.wheel) as archive:
        assert archive.read("tiny/tiny.vggq") == direct
    assert "tiny/tiny.vggq" in wheel_names(project.wheel)


@pytest.fixture
def sharded(project: Project, arrays: dict[str, np.ndarray]) -> Project:
    """Weights in three files beside an index, inside the package."""
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


def test_no_shard_ships(sharded: Project) -> None:
    result = sharded.build("-s", "-w")
    assert result.code == 0, result.output
    for names in (wheel_names(sharded.wheel), sdist_names(sharded.sdist)):
        assert not [name for name in names if "model" in name]


def test_a_shard_under_another_name(sharded: Project) -> None:
    folder = sharded.root / "src" / "tiny"
    (folder / "copy.bin").write_bytes((folder / "model-0.safetensors").read_bytes())
    assert told(sharded) == [
        (
            f"{KEY}.source: the raw weights src/tiny/model-0.safetensors are in {WHEEL} as "
            "tiny/copy.bin: exclude them"
        )
    ]


def test_an_sdist_of_all_shards(sharded: Project) -> None:
    sharded.configure((sharded.root / "pyproject.toml").read_text() + 'sdist = "source"\n', "")
    result = sharded.build("-s")
    assert result.code == 0, result.output
    shipped = {name for name in sdist_names(sharded.sdist) if "model" in name}
    assert shipped == {
        "tiny-1.0/src/tiny/model.index.json",
        *(f"tiny-1.0/src/tiny/model-{number}.safetensors" for number in range(3)),
    }


def test_a_changed_shard_is_packed_again(sharded: Project, arrays: dict[str, np.ndarray]) -> None:
    assert sharded.build().code == 0
    assert "reused" in sharded.build().output
    save_file({"steps": arrays["steps"] + 1}, sharded.root / "src/tiny/model-2.safetensors")
    assert "reused" not in sharded.build().output
    np.testing.assert_array_equal(vggq.load(sharded.target)["steps"], arrays["steps"] + 1)


def test_an_index_of_a_shard_that_is_not_there(sharded: Project) -> None:
    (sharded.root / "src/tiny/model-2.safetensors").unlink()
    assert told(sharded) == [
        (
            f"{KEY}.source: src/tiny/model-2.safetensors is listed in the index, and there is no "
            "such file"
        )
    ]


def test_an_sdist_of_a_source_that_is_not_there(project: Project) -> None:
    project.configure(MODEL + 'sdist = "source"\n')
    project.source.unlink()
    assert told(project, "-s") == [f"{KEY}.source: weights/tiny.npz: no such file"]


@pytest.mark.parametrize(
    ("dependencies", "expected"),
    [
        ("[]", 'the package needs hatch-vggq to restore its weights: add "hatch-vggq>=0.1.0"'),
        (
            "[\"hatch-vggq; extra == 'x'\"]",
            'the package needs hatch-vggq to restore its weights: add "hatch-vggq>=0.1.0"',
        ),
        (
            "[\"hatch-vggq; python_version < '3'\"]",
            'the package needs hatch-vggq to restore its weights: add "hatch-vggq>=0.1.0"',
        ),
        (
            '["hatch-vggq<0.1"]',
            (
                "'hatch-vggq<0.1' shuts out every release that reads the packed file: "
                'write "hatch-vggq>=0.1.0"'
            ),
        ),
        (
            '["hatch_vggq[cli]==0.0.*"]',
            (
                "'hatch-vggq[cli]==0.0.*' shuts out every release that reads the packed file: "
                'write "hatch-vggq>=0.1.0"'
            ),
        ),
        (
            '["Hatch.VGGQ===0.1.0+x-y-z!"]',
            (
                "'hatch-vggq===0.1.0+x-y-z!' shuts out every release that reads the packed file: "
                'write "hatch-vggq>=0.1.0"'
            ),
        ),
    ],
)
def test_dependencies_that_leave_the_installer_without_a_reader(
    project: Project, dependencies: str, expected: str
) -> None:
    head = PYPROJECT.replace('dependencies = ["hatch-vggq"]', f"dependencies = {dependencies}")
    project.configure(MODEL, head)
    before = project.files()
    assert told(project) == [f"project.dependencies: {expected}"]
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
def test_dependencies_that_will_do(project: Project, dependency: str) -> None:
    head = PYPROJECT.replace('dependencies = ["hatch-vggq"]', f'dependencies = ["{dependency}"]')
    project.configure(MODEL, head)
    result = project.build()
    assert result.code == 0, result.output


def test_dynamic_dependencies_are_somebody_elses(project: Project) -> None:
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


def test_clean_removes_what_the_hook_wrote_and_nothing_else(project: Project) -> None:
    before = project.files()
    assert project.build().code == 0
    clean(project)
    assert project.files() - {f"dist/{WHEEL}"} == before


def test_clean_keeps_what_it_could_not_make_again(project: Project) -> None:
    assert project.build().code == 0
    project.source.unlink()
    clean(project)
    assert project.target.is_file()


def test_clean_keeps_what_is_not_a_packed_file(project: Project) -> None:
    project.target.write_text("something of somebody's")
    clean(project)
    assert project.target.read_text() == "something of somebody's"


def test_a_path_with_characters_of_patterns(project: Project) -> None:
    name = "src/tiny/a [b] !c#.vggq"
    project.configure(MODEL.replace("src/tiny/tiny.vggq", name))
    (project.root / "src" / "tiny" / "a b !c#.vggq").write_text("not this one")
    result = project.build("-s", "-w")
    assert result.code == 0, result.output
    names = wheel_names(project.wheel)
    assert "tiny/a [b] !c#.vggq" in names
    assert "tiny/a b !c#.vggq" not in names


def test_two_builds_at_a_time(project: Project, tmp_path: Path) -> None:
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


def test_builds_with_a_given_date_are_byte_identical(project: Project) -> None:
    archives = []
    for _ in range(2):
        result = project.build("-s", "-w", SOURCE_DATE_EPOCH="1700000000")
        assert result.code == 0, result.output
        archives.append((project.sdist.read_bytes(), project.wheel.read_bytes()))
        project.target.unlink()
    assert archives[0] == archives[1]


RENAMED = """\
import os, platform, socket
real = os.uname()
os.uname = lambda: os.uname_result((real[0], {name!r}, *real[2:]))
platform.node = socket.gethostname = lambda: {name!r}
"""


def test_nothing_names_the_machine_that_builds(project: Project, tmp_path: Path) -> None:
    built = []
    for number in range(2):
        name = f"builder-{number}"
        home = tmp_path / name
        moved = Project(home / "tiny")
        shutil.copytree(project.root, moved.root)
        for path in moved.root.rglob("*"):
            os.utime(path, (number * 1e6, number * 1e6))
        (home / "sitecustomize.py").write_text(RENAMED.format(name=name))
        paths = os.pathsep.join(filter(None, [str(home), os.environ.get("PYTHONPATH")]))
        names = dict.fromkeys(("USER", "LOGNAME", "USERNAME", "HOSTNAME", "COMPUTERNAME"), name)
        places = dict.fromkeys(("HOME", "TMPDIR"), str(home))
        assert moved.run(
            sys.executable, "-c", "print(__import__('socket').gethostname())", PYTHONPATH=paths
        ).lines == [name]
        result = moved.build(
            "-s", "-w", SOURCE_DATE_EPOCH="1700000000", PYTHONPATH=paths, **names, **places
        )
        assert result.code == 0, result.output
        assert str(tmp_path).encode() not in moved.target.read_bytes()
        built.append([p.read_bytes() for p in (moved.sdist, moved.wheel, moved.target)])
    assert built[0] == built[1]
